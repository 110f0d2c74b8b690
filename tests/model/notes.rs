//! The notifications in transit. Their inbox is the daemon's own code (`session::News`).

use agent_sync::session::News;

/// The content of one notification, and of an inbox. A ctid is a place of the outbox.
pub(super) type Note = News<u8>;

/// The notification of a change at this place.
pub(super) fn change(place: usize) -> Note {
    News::Change(u8::try_from(place).unwrap())
}

/// The place that it names.
pub(super) fn place(note: Note) -> Option<usize> {
    match note {
        News::Change(place) => Some(usize::from(place)),
        _ => None,
    }
}

/// The note with renamed places.
pub(super) fn renamed(note: Note, name: impl Fn(usize) -> usize) -> Note {
    place(note).map_or(note, |place| change(name(place)))
}

/// The encoding in three bits.
pub(super) fn bits(note: Note) -> u8 {
    match note {
        News::Nothing => 0,
        News::Change(place) => place + 2,
        News::WakeUp | News::Slugs | News::FullCheck => 1,
    }
}

fn from_bits(bits: u8) -> Note {
    match bits {
        0 => News::Nothing,
        1 => News::WakeUp,
        place => News::Change(place - 2),
    }
}

/// The notifications in transit to one session, the first in the last three bits; they arrive in
/// the order of the commits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Notes(u32);

impl Notes {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a notification. A wake-up after a wake-up is merged with it.
    pub(super) fn push(&mut self, note: Note) {
        let length = (u32::BITS - self.0.leading_zeros()).div_ceil(3);
        assert!(length < 10, "more notifications than there is room for");
        let last = length.checked_sub(1).map(|last| self.0 >> (3 * last));
        let bits = u32::from(bits(note));
        if note != News::WakeUp || last != Some(bits) {
            self.0 |= bits << (3 * length);
        }
    }

    /// Removes the first one.
    pub(super) fn pop(&mut self) -> Note {
        let first = from_bits(u8::try_from(self.0 & 7).unwrap());
        self.0 >>= 3;
        first
    }

    /// The set of places that they name.
    pub(super) fn places(mut self) -> u8 {
        let mut places = 0;
        while !self.is_empty() {
            places |= place(self.pop()).map_or(0, |place| 1 << place);
        }
        places
    }

    /// The notifications with renamed places.
    pub(super) fn renamed(mut self, name: impl Fn(usize) -> usize) -> Self {
        let mut renamed = Self::NONE;
        while !self.is_empty() {
            renamed.push(self::renamed(self.pop(), &name));
        }
        renamed
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut notes = *self;
        f.debug_list()
            .entries(std::iter::from_fn(|| {
                (!notes.is_empty()).then(|| notes.pop())
            }))
            .finish()
    }
}
