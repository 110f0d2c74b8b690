//! The outbox: rows at places, which are reused.

use super::notes::{Note, place, renamed as rename};
use super::state::{Model, State};

/// The number of places, enough for all simultaneous rows.
pub(super) const PLACES: usize = 6;

/// The owner of a row that a daemon has enqueued; the other numbers are writers.
const ENQUEUED: u8 = 3;

/// The visibility of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Invisible, but occupying its place: its writer may roll back to a savepoint or abort.
    Inner = 1,
    /// Invisible: its writer may abort.
    Outer = 2,
    /// Visible.
    Visible = 3,
}

/// A row, or none. Its owner represents its `xmin`, because a writer has one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Row(u8);

impl Row {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(writer: u8, slug: usize, stand: Stand) -> Self {
        Self(stand as u8 | u8::from(slug != 0) << 2 | writer << 3)
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(super) fn is_visible(self) -> bool {
        self.0 & 3 == Stand::Visible as u8
    }

    pub(super) fn slug(self) -> usize {
        usize::from(self.0 >> 2 & 1)
    }

    pub(super) fn writer(self) -> u8 {
        self.0 >> 3
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// The row with two writers exchanged.
    pub(super) fn exchanged(self, one: usize, other: usize) -> Self {
        let (one, other) = (u8::try_from(one).unwrap(), u8::try_from(other).unwrap());
        let writer = match self.writer() {
            writer if writer == one => other,
            writer if writer == other => one,
            writer => writer,
        };
        if self.is_none() {
            self
        } else {
            Self(self.0 & 7 | writer << 3)
        }
    }

    /// The row without its owner, if it is visible.
    pub(super) fn anonymous(self) -> Self {
        if self.is_visible() {
            Self(self.0 | ENQUEUED << 3)
        } else {
            self
        }
    }

    fn is(self, writer: usize, stand: Stand) -> bool {
        usize::from(self.writer()) == writer && self.0 & 3 == stand as u8
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 & 3 {
            0 => write!(f, "-"),
            stand => {
                write!(
                    f,
                    "{}{}of{}",
                    self.slug(),
                    ["", "??", "?", ""][usize::from(stand)],
                    self.writer()
                )
            }
        }
    }
}

/// The table.
pub(super) type Outbox = [Row; PLACES];

/// The set of places of visible rows.
pub(super) fn visible(outbox: Outbox) -> u8 {
    places(outbox, Row::is_visible)
}

/// The place of a writer's row, if it has one.
pub(super) fn place_of(outbox: Outbox, writer: usize) -> Option<usize> {
    outbox
        .iter()
        .position(|row| !row.is_none() && usize::from(row.writer()) == writer)
}

/// Changes the visibility of a writer's rows from exactly this one; `None` removes them.
pub(super) fn turn(outbox: &mut Outbox, writer: usize, from: Stand, to: Option<Stand>) {
    for row in outbox.iter_mut().filter(|row| row.is(writer, from)) {
        *row = to.map_or(Row::NONE, |to| Row::new(row.writer(), row.slug(), to));
    }
}

/// Puts a slug into the outbox, as a daemon does.
pub(super) fn enqueue(outbox: &mut Outbox, slug: usize) {
    let place = outbox
        .iter()
        .position(|row| row.is_none())
        .expect("a free place");
    outbox[place] = Row::new(ENQUEUED, slug, Stand::Visible);
}

/// Removes the rows at these places.
pub(super) fn take_out(outbox: &mut Outbox, places: u8) {
    for (place, row) in outbox.iter_mut().enumerate() {
        if places & (1 << place) != 0 {
            *row = Row::NONE;
        }
    }
}

/// A rewrite of the table: the rows move to the front. With `tidies`, only the last row of a slug
/// stays.
pub(super) fn rewrite(outbox: Outbox, tidies: bool) -> Outbox {
    let mut rewritten = Outbox::default();
    let is_last = |place: usize, row: Row| {
        !outbox[place + 1..]
            .iter()
            .any(|other| !other.is_none() && other.slug() == row.slug())
    };
    let rows = outbox.iter().enumerate().filter(|(_, row)| !row.is_none());
    let rows = rows.filter(|(place, row)| !tidies || is_last(*place, **row));
    for (to, (_, row)) in rows.enumerate() {
        rewritten[to] = *row;
    }
    rewritten
}

fn places(outbox: Outbox, are: impl Fn(Row) -> bool) -> u8 {
    let places = outbox.iter().enumerate().filter(|(_, row)| are(**row));
    places.fold(0, |places, (place, _)| places | 1 << place)
}

impl Model {
    /// The possible places of the next row: the first free one; and if a session refers to that
    /// place, because it was notified of it or has read it, also the first one to which none
    /// refers.
    pub(super) fn free_places(state: &State) -> impl Iterator<Item = usize> {
        let first = state
            .outbox
            .iter()
            .position(|row| row.is_none())
            .expect("a free place");
        let touched = Self::touched(state);
        let fresh = (first..PLACES).find(|place| touched & (1 << place) == 0);
        let fresh = fresh.filter(|fresh| touched & (1 << first) != 0 && *fresh != first);
        std::iter::once(first).chain(fresh)
    }

    /// The places that are occupied, named by a notification, or have been read.
    pub(super) fn touched(state: &State) -> u8 {
        let taken = places(state.outbox, |row| !row.is_none());
        let told = |note: Note| place(note).map_or(0, |place| 1 << place);
        let daemons = state.daemons.iter().map(|daemon| {
            let read = daemon.rows | (1 << daemon.from) >> 1;
            read | daemon.coming.places() | told(daemon.news) | told(daemon.told)
        });
        let writers = state.writers.iter().map(|writer| told(writer.names));
        daemons
            .chain(writers)
            .fold(taken, |touched, more| touched | more)
    }

    /// Removes the places to which no session refers: those behind them move up.
    pub(super) fn without_gaps(state: &mut State) {
        let touched = Self::touched(state);
        if touched & (touched + 1) == 0 {
            return;
        }
        let before = |place: usize| (touched & ((1 << place) - 1)).count_ones();
        let renamed = |place: usize| before(place) as usize;
        let set = |set: u8| {
            let places = (0..PLACES).filter(|place| set & (1 << place) != 0);
            places.fold(0, |set, place| set | 1 << renamed(place))
        };
        let mut outbox = Outbox::default();
        for place in (0..PLACES).filter(|place| touched & (1 << place) != 0) {
            outbox[renamed(place)] = state.outbox[place];
        }
        state.outbox = outbox;
        for daemon in &mut state.daemons {
            daemon.rows = set(daemon.rows);
            daemon.from = u8::try_from(before(usize::from(daemon.from))).unwrap();
            daemon.coming = daemon.coming.renamed(renamed);
            (daemon.news, daemon.told) =
                (rename(daemon.news, renamed), rename(daemon.told, renamed));
        }
        for writer in &mut state.writers {
            writer.names = rename(writer.names, renamed);
        }
    }
}
