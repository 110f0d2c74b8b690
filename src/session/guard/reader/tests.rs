//! What the reader refuses, and what it passes on.

use super::*;

const A_NOTICE: &[u8] = b"N\0\0\0\x0bSNOTICE";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";

/// The first message of a server in SCRAM.
fn scram(iterations: &str) -> Vec<u8> {
    let text = format!("r=nonce,s=c2FsdA==,i={iterations}");
    let length = u32::try_from(text.len() + 8).unwrap_or_default();
    [
        b"R",
        &length.to_be_bytes()[..],
        &[0, 0, 0, 11],
        text.as_bytes(),
    ]
    .concat()
}

fn reader(withholds: bool, most: AnswerLimit) -> Reader {
    Reader::new(withholds, most, Secrets::default())
}

/// The result of these messages when they arrive in pieces of this size: whether the server has
/// let the client in.
fn read(messages: &[&[u8]], size: usize) -> Result<bool, Refusal> {
    let mut reader = reader(true, AnswerLimit::default());
    let mut passed = Vec::new();
    messages
        .concat()
        .chunks(size)
        .try_for_each(|piece| reader.read(piece, &mut passed))?;
    Ok(!reader.withholds)
}

#[test]
fn s12_a_request_for_a_password_is_found_however_it_arrives() {
    use PasswordRequest::{Cleartext, Md5, WeakScram};
    for size in [1, 2, 3, 5, 7, 9, 1000] {
        for (messages, expected) in [
            (&[CLEARTEXT][..], Err(Cleartext)),
            (&[MD5], Err(Md5)),
            (&[A_NOTICE, A_NOTICE, MD5], Err(Md5)),
            (&[SASL, CLEARTEXT], Err(Cleartext)),
            (&[SASL, A_NOTICE], Ok(false)),
            (&[SASL, OK], Ok(true)),
            (&[SASL, &scram("4096"), OK], Ok(true)),
            (&[SASL, &scram("4095"), OK], Err(WeakScram(4095))),
            (&[SASL, &scram("1"), OK], Err(WeakScram(1))),
            // The driver refuses what is no message of SCRAM.
            (&[SASL, &scram("many"), OK], Ok(true)),
            // What comes after is a matter of the session: here the text of a row.
            (&[OK, CLEARTEXT], Ok(true)),
            // The driver gets no further than such a length.
            (&[b"R\0\0\0\x03", CLEARTEXT], Err(Cleartext)),
            (&[b"R\0\0\0\x06\0\0", CLEARTEXT], Err(Cleartext)),
        ] {
            let expected = expected.map_err(Refusal::Password);
            assert_eq!(read(messages, size), expected, "{messages:?} by {size}");
        }
    }
}

/// Checks whether a session may get these messages.
fn may_get(messages: &[u8], fits: bool, size: usize) {
    let mut reader = reader(false, AnswerLimit::new(2 * 1024 * 1024));
    let read = messages
        .chunks(size)
        .try_for_each(|piece| reader.read(piece, &mut Vec::new()));
    assert_eq!(read.is_ok(), fits, "{} bytes by {size}", messages.len());
}

#[test]
fn s12_a_server_that_sends_without_end_is_refused() {
    let row = [b"D\0\x01\0\x04".to_vec(), vec![0; 65_536]].concat();
    let note = [b"A\0\0\x40\x04".to_vec(), vec![0; 16_384]].concat();
    let small = |number: usize| A_NOTICE.repeat(number);
    let empty = |number: usize| b"I\0\0\0\x04".repeat(number);
    // 65,535 nulls: 256 KiB on the wire, 1.8 MB in the driver.
    let nulls = [b"D\0\x04\0\x02\xff\xff".to_vec(), vec![0xff; 262_140]].concat();
    let taken = A_NOTICE.len() + 128;
    for size in [1, 7, 4096, 1 << 24] {
        for (messages, fits) in [
            // A length of two gigabytes is refused with the head of the message.
            (b"N\x7f\xff\xff\xf0".to_vec(), false),
            (b"R\x7f\xff\xff\xf0".to_vec(), false),
            // Before the session is ready, a megabyte in all.
            (small(1024 * 1024 / taken), true),
            (small(1024 * 1024 / taken + 1), false),
            // Each message takes memory besides its bytes, and so does each column of a row.
            ([READY_FOR_QUERY, &empty(15_000)].concat(), true),
            ([READY_FOR_QUERY, &empty(16_000)].concat(), false),
            ([READY_FOR_QUERY, &nulls].concat(), true),
            ([READY_FOR_QUERY, &nulls, &nulls].concat(), false),
            // Then each answer has room of its own.
            (
                [
                    READY_FOR_QUERY,
                    &row.repeat(31),
                    READY_FOR_QUERY,
                    &row.repeat(31),
                ]
                .concat(),
                true,
            ),
            ([READY_FOR_QUERY, &row.repeat(32)].concat(), false),
            ([READY_FOR_QUERY, b"D\x7f\xff\xff\xf0"].concat(), false),
            // Notifications are no part of an answer, once the session is ready.
            (
                [READY_FOR_QUERY, &note.repeat(640), &row.repeat(31)].concat(),
                true,
            ),
            ([READY_FOR_QUERY, b"A\x7f\xff\xff\xf0"].concat(), false),
            ([READY_FOR_QUERY, b"A\0\0\x7e\x0d"].concat(), false),
            (note.repeat(64), false),
        ] {
            may_get(&messages, fits, size);
        }
    }
}

/// An error or a notice has a limit of its own, and the driver gets little of one.
#[test]
fn g12_errors_and_notices_are_bounded_by_what_the_driver_gets() {
    let error = [
        b"E\0\x10\0\x04M".to_vec(),
        vec![b'x'; 1_048_573],
        vec![0; 2],
    ]
    .concat();
    let many = A_NOTICE.repeat(100_000);
    for size in [7, 4096, 1 << 24] {
        for (messages, fits) in [
            ([READY_FOR_QUERY, b"E\x04\0\0\x04"].concat(), true),
            ([READY_FOR_QUERY, b"E\x04\0\0\x05"].concat(), false),
            ([READY_FOR_QUERY, b"N\x04\0\0\x04"].concat(), true),
            ([READY_FOR_QUERY, b"N\x04\0\0\x05"].concat(), false),
            ([READY_FOR_QUERY, &many].concat(), true),
            ([READY_FOR_QUERY, &error.repeat(20)].concat(), true),
            ([READY_FOR_QUERY, &error.repeat(40)].concat(), false),
        ] {
            may_get(&messages, fits, size);
        }
    }
}

#[test]
fn g12_the_limit_of_an_answer_rises_with_the_turn_of_heavy_work() {
    let (limit, row) = (AnswerLimit::new(2 << 20), b"D\0\x30\0\x04");
    let row = [&row[..], &vec![0; 3 << 20]].concat();
    for (most, fits) in [(1, false), (2 << 20, false), (4 << 20, true), (1, true)] {
        limit.raise(most);
        let mut reader = reader(false, limit.clone());
        assert_eq!(reader.read(READY_FOR_QUERY, &mut Vec::new()), Ok(()));
        assert_eq!(reader.read(&row, &mut Vec::new()).is_ok(), fits, "{most}");
    }
}

#[test]
fn s12_a_server_that_was_refused_stays_refused() {
    let mut reader = reader(true, AnswerLimit::default());
    assert!(reader.read(CLEARTEXT, &mut Vec::new()).is_err());
    assert!(reader.read(OK, &mut Vec::new()).is_err());
}

/// A message with this tag and text.
fn message(tag: u8, text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    add(tag, text.as_bytes(), &mut all);
    all
}

/// The part of these messages of a session that the driver gets, in pieces of this size.
fn passed(messages: &[&[u8]], size: usize) -> Vec<u8> {
    let mut reader = reader(false, AnswerLimit::default());
    let mut passed = Vec::new();
    for piece in [READY_FOR_QUERY, &messages.concat()].concat().chunks(size) {
        assert_eq!(reader.read(piece, &mut passed), Ok(()));
    }
    passed.split_off(READY_FOR_QUERY.len())
}

/// An error with the longest values that a batch has leaves the driver what code decides on.
#[test]
fn g5_a_long_error_and_a_long_notice_end_no_connection() {
    let long = "x".repeat(30_000_000);
    let text = |message: &str| format!("SERROR\0C22P02\0M{message}\0tagents\0\0");
    let long_one = message(b'E', &text(&long));
    let short = message(b'E', &text(&long[..4096]));
    let notice = message(b'N', &text(&long));
    for size in [4096, 1 << 24] {
        let found = passed(&[&notice, &long_one, READY_FOR_QUERY, &notice], size);
        assert!(found == [&short[..], READY_FOR_QUERY].concat());
    }
}

/// An error about a notification that the server cannot send is the end of the connection, and no
/// answer.
#[test]
fn g5_an_error_about_a_notification_is_no_answer() {
    let error = |severity: &str, code: &str, more: &str| {
        let text = format!("S{severity}\0V{severity}\0C{code}\0Mno equal\0{more}\0");
        message(b'E', &text)
    };
    let of_a_note = error("FATAL", "22P05", "");
    let before_2025 = error("ERROR", "22021", "");
    let of_a_parameter = error("ERROR", "22P05", "Wportal parameter $1\0");
    let other = error("FATAL", "57P01", "");
    let (bound, done, empty) = (message(b'2', ""), message(b'C', "\0"), message(b'I', ""));
    for size in [1, 7, 4096] {
        for (messages, is_answer) in [
            (&[&of_a_note][..], false),
            (&[&before_2025], false),
            (&[&done, &of_a_note], false),
            (&[&bound, &of_a_note], false),
            (&[&done, &before_2025], false),
            (&[&empty, &before_2025], false),
            (&[&bound, &before_2025], true),
            (&[&of_a_parameter], true),
            (&[&other], true),
        ] {
            let mut reader = reader(false, AnswerLimit::default());
            let mut pieces = vec![READY_FOR_QUERY];
            pieces.push(A_NOTICE);
            pieces.extend(messages.iter().map(|message| &message[..]));
            let read = pieces
                .concat()
                .chunks(size)
                .try_for_each(|piece| reader.read(piece, &mut Vec::new()));
            let expected = if is_answer {
                Ok(())
            } else {
                Err(Refusal::Unreadable)
            };
            assert_eq!(read, expected, "{messages:?} by {size}");
        }
    }
}

/// The text with which a server refuses a login is masked, and the login itself is not.
#[test]
fn g11_the_password_is_masked_in_a_message_of_scram() {
    let secrets = crate::pg::password::know("scram", [&b"s3cret-word"[..]]);
    for (text, shown) in [
        (
            "\0\0\0\u{c}e=it is s3cret-word",
            "\0\0\0\u{c}e=it is ********",
        ),
        ("\0\0\0\u{c}v=s3cret-word", "\0\0\0\u{c}v=s3cret-word"),
    ] {
        let mut reader = Reader::new(false, AnswerLimit::default(), secrets.clone());
        let mut passed = Vec::new();
        assert_eq!(reader.read(&message(b'R', text), &mut passed), Ok(()));
        assert_eq!(passed, message(b'R', shown));
    }
}
