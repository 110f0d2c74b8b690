//! The refusal of `announce.channel` where it is a channel of an install (I7): a daemon would take
//! its own announcements for requests.

use std::collections::BTreeMap;

use super::database::Described;
use super::install_schema::InstallSchema;
use super::layers::Values;
use super::mistake::Mistake;

/// The ends of the names of the channels of an install, after that of its schema.
const ENDS: [&str; 3] = ["", "_change", "_probe"];

/// Reports an `announce.channel` that is a channel of the install of one of the databases, or
/// of the usual one.
pub(super) fn refuse(
    channel: Option<&str>,
    values: &Values,
    described: &BTreeMap<String, Described>,
    mistakes: &mut Vec<Mistake>,
) {
    const KEY: &str = "announce.channel";
    let Some(channel) = channel else { return };
    let databases = described
        .values()
        .filter_map(|described| described.database.as_ref());
    let is_own = |schema: &str| {
        ENDS.iter()
            .any(|end| channel.strip_prefix(schema) == Some(end))
    };
    let schemas = databases.map(|database| database.install.schema.name());
    if schemas.chain([InstallSchema::USUAL]).any(is_own) {
        let expected = "a channel that is none of an install";
        let mistake = Mistake::mismatch(KEY, values.origin(KEY), expected, format!("{channel:?}"));
        let remedy = "agent-sync listens there for requests; for example `channel = \
            \"configuration_changed\"`";
        mistakes.push(mistake.remedy(remedy));
    }
}
