//! The rows of the outbox that a batch takes.
//!
//! Invariant: a key is held and sent once, however many rows it has (G12): a slug may have
//! [`LONGEST_SLUG`](super::LONGEST_SLUG) bytes, and 100,000 rows.

use postgres_types::ToSql;

use crate::pg::{Tid, Version};

/// The rows of the outbox that a batch takes: each by its place, its version and its key (G13).
#[derive(Debug, Default)]
pub struct Taken<'a> {
    places: Vec<Tid>,
    versions: Vec<Version>,
    /// For each row, the number of its key among the keys, from 1 on.
    numbers: Vec<i32>,
    keys: Vec<&'a str>,
}

impl<'a> Taken<'a> {
    /// Takes the rows of a key, at these places and of these versions.
    pub fn add(&mut self, key: &'a str, places: Vec<Tid>, versions: Vec<Version>) {
        self.keys.push(key);
        let number = i32::try_from(self.keys.len()).unwrap_or(i32::MAX);
        let rows = places.len().min(versions.len());
        self.numbers.extend(std::iter::repeat_n(number, rows));
        self.places.extend(places.into_iter().take(rows));
        self.versions.extend(versions.into_iter().take(rows));
    }

    /// The number of the rows.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// The first of the rows.
    pub fn first(&self) -> Option<(Tid, Version)> {
        Some((*self.places.first()?, *self.versions.first()?))
    }

    /// The key of the first row.
    pub fn first_key(&self) -> Option<&'a str> {
        let number = usize::try_from(*self.numbers.first()?).ok()?;
        self.keys.get(number.checked_sub(1)?).copied()
    }

    /// Leaves the rows of a key where they are.
    pub fn leave(&mut self, key: &str) {
        let is_kept: Vec<bool> = self
            .numbers
            .iter()
            .map(|number| {
                let index = usize::try_from(*number - 1).ok();
                index.and_then(|index| self.keys.get(index)) != Some(&key)
            })
            .collect();
        let mut kept = is_kept.iter();
        self.places.retain(|_| kept.next() == Some(&true));
        let mut kept = is_kept.iter();
        self.versions.retain(|_| kept.next() == Some(&true));
        let mut kept = is_kept.iter();
        self.numbers.retain(|_| kept.next() == Some(&true));
    }

    /// The parameters of a statement that takes the rows: their places, their versions, the numbers
    /// of their keys, and the keys.
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.places, &self.versions, &self.numbers, &self.keys]
    }
}

#[cfg(test)]
mod tests {
    use postgres_types::Type;
    use postgres_types::private::BytesMut;

    use super::*;

    const PLACE: Tid = Tid::START;

    /// G12: what is held and sent of a key does not grow with the number of its rows.
    #[test]
    fn g12_a_key_with_many_rows_is_sent_once() {
        let (long, mut taken) = ("x".repeat(8192), Taken::default());
        let version = Version::default();
        taken.add(&long, vec![PLACE; 100_000], vec![version; 100_000]);
        taken.add("b", vec![PLACE; 2], vec![version; 2]);
        assert_eq!((taken.rows(), taken.keys.len()), (100_002, 2));
        let (mut sent, types) = (
            BytesMut::new(),
            [
                Type::TID_ARRAY,
                Type::XID_ARRAY,
                Type::INT4_ARRAY,
                Type::TEXT_ARRAY,
            ],
        );
        for (parameter, of_type) in taken.parameters().iter().zip(&types) {
            assert!(parameter.to_sql_checked(of_type, &mut sent).is_ok());
        }
        assert!(sent.len() < 3_000_000, "{} bytes", sent.len());
    }

    #[test]
    fn g5_the_rows_of_a_key_that_is_left_are_not_taken() {
        let (version, mut taken) = (Version::default(), Taken::default());
        for key in ["a", "b", "c"] {
            taken.add(key, vec![PLACE; 2], vec![version; 2]);
        }
        taken.leave("a");
        assert_eq!((taken.rows(), taken.first_key()), (4, Some("b")));
        assert_eq!(taken.numbers, [2, 2, 3, 3]);
        taken.leave("c");
        taken.leave("b");
        assert_eq!(
            (taken.rows(), taken.first(), taken.first_key()),
            (0, None, None)
        );
    }
}
