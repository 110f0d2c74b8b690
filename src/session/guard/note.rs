//! The text of a notification. Any role that may connect chooses it.

/// The body of a notification as the driver takes it. A payload that is no UTF-8 becomes an empty
/// one, which is a wake-up. There is none of a channel on which no session listens, and of bytes
/// that are no notification.
pub(super) fn readable(mut body: Vec<u8>) -> Option<Vec<u8>> {
    // The number of the process, the channel and the payload.
    let names = body.get(4..)?;
    let end = names.iter().position(|byte| *byte == 0)?;
    let (channel, payload) = (&names[..end], names[end + 1..].strip_suffix(b"\0")?);
    str::from_utf8(channel).ok()?;
    if str::from_utf8(payload).is_err() {
        body.truncate(4 + end + 1);
        body.push(0);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_a_notification_that_is_no_utf8_is_a_wake_up() {
        for (body, expected) in [
            (
                &b"\0\0\0\x01agent_sync\0slug\0"[..],
                Some(&b"\0\0\0\x01agent_sync\0slug\0"[..]),
            ),
            (
                b"\0\0\0\x01agent_sync\0\0",
                Some(b"\0\0\0\x01agent_sync\0\0"),
            ),
            (
                b"\0\0\0\x01agent_sync\0a\xff\0",
                Some(b"\0\0\0\x01agent_sync\0\0"),
            ),
            (b"\0\0\0\x01agent\xffsync\0slug\0", None),
            (b"\0\0\0\x01agent_sync\0slug", None),
            (b"\0\0\0\x01agent_sync", None),
            (b"\0\0", None),
        ] {
            assert_eq!(readable(body.to_vec()).as_deref(), expected, "{body:?}");
        }
    }
}
