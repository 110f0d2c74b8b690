//! The position of a row in its table (`tid`, the type of the system column `ctid`), and its
//! version (`xmin`).
//!
//! Neither identifies a row (G13): VACUUM FULL and CLUSTER move rows and keep their versions, a
//! position is used again, and all rows that one transaction wrote have one version. A position
//! identifies a row only within a transaction that has locked the row and the table. So a statement
//! that uses one that an earlier statement has read also compares the slug, and either compares the
//! version or runs in the transaction that has locked the row. `set_aside_not_text` compares the
//! version alone, because the daemon cannot read the slug.

use std::error::Error;
use std::str::FromStr;

use postgres_types::private::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// A reference to a row: its relation, which differs between partitions, and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef {
    /// The `tableoid`.
    pub relation: u32,
    /// The `ctid`.
    pub row: Tid,
}

/// A position: the block, and the item in the block.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tid {
    block: u32,
    offset: u16,
}

impl Tid {
    /// The position before every row.
    pub const START: Self = Self {
        block: 0,
        offset: 0,
    };

    /// The next possible position.
    #[must_use]
    pub fn next(self) -> Self {
        match self.offset.checked_add(1) {
            Some(offset) => Self { offset, ..self },
            None => Self {
                block: self.block.saturating_add(1),
                offset: 0,
            },
        }
    }
}

/// The version of a row: the number of the transaction that wrote it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Version(u32);

impl Version {
    /// The first number of a transaction. The numbers below it stand for no particular transaction:
    /// 2 is that of a row that VACUUM FREEZE has rewritten.
    const FIRST: u32 = 3;

    /// Whether this transaction began before the other one. Numbers wrap around, so this holds for
    /// transactions that are less than 2^31 apart.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        let is_number = self.0 >= Self::FIRST && other.0 >= Self::FIRST;
        is_number && self.0 != other.0 && other.0.wrapping_sub(self.0) < 1 << 31
    }
}

impl<'a> FromSql<'a> for Version {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let raw = raw
            .try_into()
            .map_err(|_| format!("expected an xid of 4 bytes, found {}", raw.len()))?;
        Ok(Self(u32::from_be_bytes(raw)))
    }

    accepts!(XID);
}

impl ToSql for Version {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(XID);
    to_sql_checked!();
}

impl FromStr for Tid {
    type Err = NoPlace;

    /// From the form that PostgreSQL prints: `(block,offset)`.
    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let inner = text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'));
        let (block, offset) = inner
            .and_then(|inner| inner.split_once(','))
            .ok_or(NoPlace)?;
        Ok(Self {
            block: block.parse().map_err(|_| NoPlace)?,
            offset: offset.parse().map_err(|_| NoPlace)?,
        })
    }
}

/// The text is not the position of a row.
#[derive(Debug, thiserror::Error)]
#[error("expected the place of a row, like (0,1)")]
pub struct NoPlace;

impl<'a> FromSql<'a> for Tid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let &[b0, b1, b2, b3, o0, o1] = raw else {
            return Err(format!("expected a tid of 6 bytes, found {}", raw.len()).into());
        };
        Ok(Self {
            block: u32::from_be_bytes([b0, b1, b2, b3]),
            offset: u16::from_be_bytes([o0, o1]),
        })
    }

    accepts!(TID);
}

impl ToSql for Tid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.block.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TID);
    to_sql_checked!();
}
