//! Notifications (I7): payloads and reads of the inbox, in any order.
//!
//! An input is bytes: the lowest three bits of each choose the operation, and the others its size.
//!
//! Promises: every requested slug is returned once, or "everything" if there were more than are
//! kept, also where the news is taken first; no wake-up is lost, and a taken one does not return; and the memory is bounded (G12).

use std::collections::BTreeSet;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_sync::pg::Tid;
use agent_sync::session::{Inbox, News};

/// The expected inbox: a set, and whether anything has arrived.
#[derive(Default)]
struct Expected {
    slugs: BTreeSet<String>,
    bytes: usize,
    too_many: bool,
    woken: bool,
    closed: Option<String>,
}

/// The target.
pub fn inbox(mut data: &[u8]) {
    let (inbox, mut expected) = (Inbox::default(), Expected::default());
    while let Some((&byte, rest)) = data.split_first() {
        let size = usize::from(byte >> 3);
        data = rest;
        match byte & 7 {
            0 if size & 1 == 1 => take_news(&inbox, &mut expected),
            0 => take(&inbox, &mut expected),
            1 => deliver(&inbox, &mut expected, ""),
            2 => {
                inbox.close(format!("cause {size}"));
                expected.closed = Some(format!("cause {size}"));
            }
            3 => (0..size * 64)
                .for_each(|n| deliver(&inbox, &mut expected, &format!("agent-{size}-{n}"))),
            _ => {
                let (payload, rest) = data.split_at(size.min(data.len()));
                data = rest;
                deliver(&inbox, &mut expected, &String::from_utf8_lossy(payload));
            }
        }
        agrees(&inbox, &expected);
    }
    take(&inbox, &mut expected);
    agrees(&inbox, &expected);
}

fn deliver(inbox: &Inbox, expected: &mut Expected, payload: &str) {
    inbox.deliver(payload);
    expected.woken = true;
    if payload.is_empty() || expected.slugs.contains(payload) {
        return;
    }
    let bytes = expected.bytes + payload.len() * payload.split('/').count();
    if expected.slugs.len() < Inbox::CAPACITY && bytes <= Inbox::BYTES {
        expected.bytes = bytes;
        expected.slugs.insert(payload.to_owned());
    } else {
        expected.too_many = true;
    }
}

fn take(inbox: &Inbox, expected: &mut Expected) {
    let slugs: Vec<_> = std::mem::take(&mut expected.slugs).into_iter().collect();
    expected.bytes = 0;
    expected.woken |= !slugs.is_empty();
    let kind = take_kind(expected, !slugs.is_empty());
    assert_eq!(inbox.take(), (kind, slugs));
}

fn take_news(inbox: &Inbox, expected: &mut Expected) {
    // The slugs that were news before are none now.
    let news = inbox.take_news();
    let has_slugs = news == News::Slugs;
    assert!(!has_slugs || !expected.slugs.is_empty());
    assert_eq!(news, take_kind(expected, has_slugs));
}

fn take_kind(expected: &mut Expected, has_slugs: bool) -> News<Tid> {
    let woken = std::mem::take(&mut expected.woken);
    match (std::mem::take(&mut expected.too_many), woken, has_slugs) {
        (true, _, _) => News::FullCheck,
        (false, false, _) => News::Nothing,
        (false, true, false) => News::WakeUp,
        (false, true, true) => News::Slugs,
    }
}

fn agrees(inbox: &Inbox, expected: &Expected) {
    assert_eq!(
        (inbox.has_news(), inbox.is_closed()),
        (expected.woken, expected.closed.is_some())
    );
    assert_eq!(inbox.cause(), expected.closed.clone().unwrap_or_default());
    let mut context = Context::from_waker(Waker::noop());
    let arrived = pin!(inbox.arrival()).poll(&mut context);
    let wakes = expected.woken || expected.closed.is_some();
    assert_eq!(
        arrived,
        if wakes {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    );
}
