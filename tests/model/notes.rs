//! Notifications: what they say, those that are on their way, and the inbox in which they end
//! (`session::Inbox`).

/// What a notification says, and what an inbox holds (`session::Asked`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Note(u8);

impl Note {
    /// Nothing has come.
    pub(super) const NONE: Self = Self(0);
    /// `agent_sync`: there is something to do.
    pub(super) const WAKE_UP: Self = Self(1);

    /// `agent_sync_change`: there is something to do at this place.
    pub(super) fn change(place: usize) -> Self {
        Self(u8::try_from(place).unwrap() + 2)
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The place that it names.
    pub(super) fn place(self) -> Option<usize> {
        self.0.checked_sub(2).map(usize::from)
    }

    /// The same with other names for the places.
    pub(super) fn renamed(self, name: impl Fn(usize) -> usize) -> Self {
        self.place().map_or(self, |place| Self::change(name(place)))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// `Inbox::deliver` and `Inbox::deliver_change`: a place is kept only while it is all that has
    /// arrived.
    pub(super) fn deliver(&mut self, note: Self) {
        *self = if self.is_none() { note } else { Self::WAKE_UP };
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.place(), self.is_none()) {
            (Some(place), _) => write!(f, "change({place})"),
            (None, true) => write!(f, "-"),
            (None, false) => write!(f, "wake-up"),
        }
    }
}

/// Those on their way to one session, the first in the last three bits: they arrive in the order of
/// the commits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Notes(u32);

impl Notes {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one. A wake-up that follows a wake-up is not told apart from it.
    pub(super) fn push(&mut self, note: Note) {
        let length = (u32::BITS - self.0.leading_zeros()).div_ceil(3);
        assert!(length < 10, "more notifications than there is room for");
        let last = length.checked_sub(1).map(|last| self.0 >> (3 * last));
        if note != Note::WAKE_UP || last != Some(u32::from(note.0)) {
            self.0 |= u32::from(note.0) << (3 * length);
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Note {
        let first = Note(u8::try_from(self.0 & 7).unwrap());
        self.0 >>= 3;
        first
    }

    /// The places that they name, as a set.
    pub(super) fn places(mut self) -> u8 {
        let mut places = 0;
        while !self.is_empty() {
            places |= self.pop().place().map_or(0, |place| 1 << place);
        }
        places
    }

    /// The same with other names for the places.
    pub(super) fn renamed(mut self, name: impl Fn(usize) -> usize) -> Self {
        let mut renamed = Self::NONE;
        while !self.is_empty() {
            renamed.push(self.pop().renamed(&name));
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
