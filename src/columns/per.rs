//! One value for each mapped column.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Index, IndexMut};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{AgentColumn, Column, MappedColumn};

/// One value for each mapped column of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Per<C, T, const N: usize> {
    values: [T; N],
    columns: PhantomData<C>,
}

/// One value for each column of `agents` that the mapping reads.
pub type PerAgentColumn<T> = Per<AgentColumn, T, { AgentColumn::ALL.len() }>;

/// One value for each column of `agent_configurations` that the mapping computes.
pub type PerColumn<T> = Per<Column, T, { Column::ALL.len() }>;

impl<C: MappedColumn, T, const N: usize> Per<C, T, N> {
    /// The value of each column, from a function of the column.
    pub fn from_fn(mut value: impl FnMut(C) -> T) -> Self {
        Self {
            values: std::array::from_fn(|index| value(C::ALL[index])),
            columns: PhantomData,
        }
    }

    /// The same values, except for one column.
    #[must_use]
    pub fn with(mut self, column: C, value: T) -> Self {
        self[column] = value;
        self
    }

    /// The columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (C, &T)> {
        C::ALL.iter().copied().zip(&self.values)
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// A function of each value.
    pub fn map<U>(self, value: impl FnMut(T) -> U) -> Per<C, U, N> {
        Per {
            values: self.values.map(value),
            columns: PhantomData,
        }
    }

    /// A reference to each value.
    pub fn as_ref(&self) -> Per<C, &T, N> {
        Per {
            values: self.values.each_ref(),
            columns: PhantomData,
        }
    }
}

impl<C: MappedColumn, T, const N: usize> Per<C, Option<T>, N> {
    /// Whether no column has a value.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// The columns that have a value, with the value.
    pub fn present(&self) -> impl Iterator<Item = (C, &T)> {
        self.iter()
            .filter_map(|(column, value)| Some((column, value.as_ref()?)))
    }

    /// The borrowed form of each value.
    pub fn as_deref(&self) -> Per<C, Option<&T::Target>, N>
    where
        T: Deref,
    {
        self.as_ref().map(Option::as_deref)
    }
}

impl<C: MappedColumn, T, const N: usize> From<[T; N]> for Per<C, T, N> {
    /// The values in the order of the columns.
    fn from(values: [T; N]) -> Self {
        Self {
            values,
            columns: PhantomData,
        }
    }
}

impl<C: MappedColumn, T: Default, const N: usize> Default for Per<C, T, N> {
    fn default() -> Self {
        Self::from_fn(|_| T::default())
    }
}

impl<'de, C, T, const N: usize> Deserialize<'de> for Per<C, T, N>
where
    C: MappedColumn,
    T: Default + Deserialize<'de>,
{
    /// The values by the names of their columns.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut named = BTreeMap::<String, T>::deserialize(deserializer)?;
        let mut per = Self::default();
        for column in C::ALL.iter().copied() {
            let value = named.remove(column.name());
            per[column] = value.ok_or_else(|| D::Error::missing_field(column.name()))?;
        }
        Ok(per)
    }
}

impl<C: MappedColumn, T, const N: usize> Index<C> for Per<C, T, N> {
    type Output = T;

    fn index(&self, column: C) -> &T {
        &self.values[column.index()]
    }
}

impl<C: MappedColumn, T, const N: usize> IndexMut<C> for Per<C, T, N> {
    fn index_mut(&mut self, column: C) -> &mut T {
        &mut self.values[column.index()]
    }
}

impl<C: MappedColumn, T: fmt::Debug, const N: usize> fmt::Debug for Per<C, T, N> {
    /// The values by the names of their columns.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.iter().map(|(column, value)| (column.name(), value));
        out.debug_map().entries(values).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_values_is_read_by_column() {
        let values = PerColumn::default().with(Column::VoiceId, Some("v".to_owned()));
        assert_eq!(values.as_deref()[Column::VoiceId], Some("v"));
        let present: Vec<_> = values.present().map(|(column, _)| column).collect();
        assert_eq!(present, [Column::VoiceId]);
        assert!(!values.is_empty());
        assert!(PerColumn::<Option<String>>::default().is_empty());
        assert_eq!(
            format!("{:?}", values.map(|value| value.is_some()))
                .matches("true")
                .count(),
            1
        );
    }
}
