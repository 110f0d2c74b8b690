//! The refusal of two entries that would share an install or a table (T6).

use std::collections::BTreeMap;

use super::connection::Connection;
use super::database::Described;
use super::dsn;
use super::install_schema::InstallSchema;
use super::mistake::Mistake;

/// Reports entries that would share an install, or a table of configurations (T6).
pub(super) fn refuse(described: &BTreeMap<String, Described>, mistakes: &mut Vec<Mistake>) {
    // The earlier ones, by the name of the database.
    let mut earlier: BTreeMap<_, Vec<&Described>> = BTreeMap::new();
    for entry in described.values() {
        let of_name = earlier.entry(dsn::database_name(&entry.connection.dsn.config));
        let others = of_name.or_default();
        let mut found = others.iter();
        let shared = found.find_map(|other| Some((&other.connection, entry.shares(other)?)));
        others.push(entry);
        let Some((other, shared)) = shared else {
            continue;
        };
        let found = format!("{} of {} ({})", shared.found, other.key, other.source);
        let Connection { key, source, .. } = &entry.connection;
        let mistake = Mistake::mismatch(key, source, shared.expected, found);
        mistakes.push(mistake.remedy(shared.remedy));
    }
}

/// The part of another entry that an entry shares, and must not.
#[derive(Debug)]
pub struct Shared {
    /// The setting that each entry has to have of its own.
    pub expected: &'static str,
    /// The value that the other entry has as well.
    pub found: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// Two entries with one install.
pub const ONE_INSTALL: Shared = Shared {
    expected: "a database or an install.schema of its own",
    found: "the server, the database and the install.schema",
    remedy: "the two would share one install, and each would take changes of the other: keep one \
        entry for each database, or give the entry of another pair of tables an install.schema of \
        its own",
};

impl Described {
    /// The part that both entries would use: one database has several entries only where each has
    /// an install and tables of its own (T6).
    fn shares(&self, other: &Self) -> Option<Shared> {
        let (dsn, others) = (&self.connection.dsn, &other.connection.dsn);
        if !dsn::is_same_database(&dsn.config, &others.config) {
            return None;
        }
        // An entry with mistakes is taken to have the usual schema.
        let schema = |entry: &Self| {
            let database = entry.database.as_ref();
            database.map_or_else(InstallSchema::default, |found| found.install.schema.clone())
        };
        let table = |entry: &Self| {
            let database = entry.database.as_ref()?;
            let configurations = &database.configurations;
            Some((configurations.schema.clone(), configurations.table.clone()))
        };
        if schema(self) == schema(other) {
            return Some(ONE_INSTALL);
        }
        (table(self).is_some() && table(self) == table(other)).then_some(Shared {
            expected: "a database or a table of configurations of its own",
            found: "the server, the database and the table of configurations",
            remedy: "both would write the same configurations: keep one entry for each pair of \
                tables, or correct the schema or the table under configurations",
        })
    }
}
