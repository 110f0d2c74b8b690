//! The descriptions of statements: of their columns (`RowDescription`) and of their parameters
//! (`ParameterDescription`).
//!
//! The driver asks a server for each type that it does not know, for the types within it, one on
//! top of the other on the stack, and keeps them all for the life of the connection. No query of
//! agent-sync needs that: it reads and writes values of other types as text. So the driver gets
//! [`Type::UNKNOWN`] in place of every other type, and asks for none.

use postgres_types::Type;

use super::reader::MESSAGE;

/// The length of a column behind its name, and the place of its type there.
const BEHIND_NAME: usize = 18;
const TYPE: usize = 6;

/// The length of a type.
const OID: usize = 4;

/// The descriptions of a connection that the driver keeps: those of prepared statements.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    sum: u64,
}

impl Descriptions {
    /// The most bytes of one.
    pub(super) const LONGEST: u64 = 64 * 1024;

    /// The most memory for those of all prepared statements of a connection.
    pub(super) const MOST: u64 = 1024 * 1024;

    /// Takes in one of a prepared statement, by its memory. Returns whether all of them still fit.
    pub(super) fn keep(&mut self, memory: u64) -> bool {
        self.sum = self.sum.saturating_add(memory);
        self.sum <= Self::MOST
    }
}

/// Leaves the driver only types that it knows in the description of columns. Returns the memory for
/// the columns. The driver refuses a body that ends within a column.
pub(super) fn of_columns(body: &mut [u8]) -> u64 {
    let mut count = 0;
    // The number of columns stands first.
    let mut rest = body.get_mut(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == 0)
        && let Some((column, others)) = rest[end + 1..].split_at_mut_checked(BEHIND_NAME)
    {
        replace(&mut column[TYPE..TYPE + OID]);
        (rest, count) = (others, count + 1);
    }
    count * MESSAGE
}

/// The same in the description of parameters.
pub(super) fn of_parameters(body: &mut [u8]) -> u64 {
    let types = body.get_mut(2..).unwrap_or_default();
    types.chunks_exact_mut(OID).map(replace).count() as u64 * MESSAGE
}

/// Replaces a type that the driver does not know.
fn replace(oid: &mut [u8]) {
    let is_known = <[u8; OID]>::try_from(&*oid)
        .is_ok_and(|oid| Type::from_oid(u32::from_be_bytes(oid)).is_some());
    if !is_known {
        oid.copy_from_slice(&Type::UNKNOWN.oid().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use crate::pg::AnswerLimit;
    use crate::pg::password::Secrets;

    const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
    const PARSED: &[u8] = b"1\0\0\0\x04";
    const BOUND: &[u8] = b"2\0\0\0\x04";
    const OTHER: u32 = 16_384;

    /// A message with this tag and body.
    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    /// A description of columns with these names and types.
    fn columns(each: &[(&str, u32)]) -> Vec<u8> {
        let count = u16::try_from(each.len()).unwrap_or_default();
        let mut body = count.to_be_bytes().to_vec();
        for (name, of) in each {
            body.extend([name.as_bytes(), b"\0\0\0\x40\0\0\x01"].concat());
            body.extend(of.to_be_bytes());
            body.extend(b"\xff\xff\xff\xff\xff\xff\0\x01");
        }
        message(b'T', &body)
    }

    /// A description of parameters of these types.
    fn parameters(each: &[u32]) -> Vec<u8> {
        let count = u16::try_from(each.len()).unwrap_or_default();
        let types: Vec<[u8; 4]> = each.iter().map(|of| of.to_be_bytes()).collect();
        message(b't', &[&count.to_be_bytes()[..], &types.concat()].concat())
    }

    /// The part of these messages that the driver gets, in pieces of this size.
    fn passed(messages: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut reader = Reader::new(false, AnswerLimit::default(), Secrets::default());
        let mut passed = Vec::new();
        let all = [READY_FOR_QUERY, messages].concat();
        let mut pieces = all.chunks(size);
        pieces
            .try_for_each(|piece| reader.read(piece, &mut passed))
            .ok()?;
        Some(passed.split_off(READY_FOR_QUERY.len()))
    }

    /// The same message, whose body is shorter by so much.
    fn cut(whole: &[u8], by: usize) -> Vec<u8> {
        message(whole[0], &whole[5..whole.len() - by])
    }

    #[test]
    fn g12_the_driver_gets_no_type_that_it_would_ask_for() {
        let (text, array, unknown) = (Type::TEXT.oid(), Type::OID_ARRAY.oid(), 705);
        let named = |types: [u32; 5]| {
            let names = ["a", "", "c", "d", "e"];
            columns(&std::array::from_fn::<_, 5, _>(|n| (names[n], types[n])))
        };
        let sent = named([text, OTHER, array, u32::MAX, 0]);
        let shown = named([text, unknown, array, unknown, unknown]);
        let (many, others) = (parameters(&[OTHER; 3]), parameters(&[unknown; 3]));
        for size in [1, 7, 4096] {
            for (messages, expected) in [
                (sent.clone(), shown.clone()),
                (columns(&[]), columns(&[])),
                (
                    parameters(&[text, OTHER, array]),
                    parameters(&[text, unknown, array]),
                ),
                // The driver reads what stands before an early end.
                (cut(&sent, 20), cut(&shown, 20)),
                (cut(&many, 4), cut(&others, 4)),
                (message(b'T', b""), message(b'T', b"")),
                (message(b't', b"\0"), message(b't', b"\0")),
            ] {
                let found = passed(&messages, size);
                assert_eq!(found.as_ref(), Some(&expected), "{messages:?} by {size}");
            }
        }
    }

    #[test]
    fn g12_the_descriptions_of_a_connection_are_bounded() {
        // Besides the name, a description of one column has 21 bytes.
        let of_length = |length: usize| columns(&[(&"x".repeat(length - 21), 25)]);
        let (longest, longer) = (of_length(65_536), of_length(65_537));
        let wide = columns(&vec![("", 25); 1000]);
        let answer = |messages: &[&[u8]]| [&messages.concat(), READY_FOR_QUERY].concat();
        let some = parameters(&[25]);
        let prepared = |columns: &[u8]| answer(&[PARSED, &some, columns]);
        let executed = |columns: &[u8]| answer(&[PARSED, BOUND, &some, columns]);
        for size in [7, 4096, 1 << 24] {
            for (messages, fits) in [
                (prepared(&longest).repeat(15), true),
                (prepared(&longest).repeat(16), false),
                (prepared(&longer), false),
                // Each column and each parameter takes memory besides its bytes.
                (prepared(&wide).repeat(7), true),
                (prepared(&wide).repeat(8), false),
                (prepared(&parameters(&[25; 1000])).repeat(9), false),
                // Those of other statements are not kept.
                (executed(&longest).repeat(99), true),
                (executed(&wide).repeat(99), true),
                (answer(&[&longest]).repeat(99), true),
                (executed(&longer), false),
                (message(b't', &vec![0; 65_537]), false),
            ] {
                let found = passed(&messages, size).is_some();
                assert_eq!(found, fits, "{} bytes by {size}", messages.len());
            }
        }
    }
}
