//! The verbs of the command line (I1), one short file each: settings in, work done, exit code out.

pub mod config;
pub mod render;

use anyhow::Context as _;

use crate::exit::Fault;
use crate::mapping::Rules;
use crate::settings::Settings;

/// The rules in force: those of `rules.file`, or else the embedded ones.
fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let Some(file) = &settings.rules.file else {
        return Ok(Rules::embedded().clone());
    };
    let path = file.display();
    let text = std::fs::read_to_string(file).with_context(|| {
        Fault::usage(format!("expected the rules in {path} (rules.file), and the file cannot be read"))
            .remedy("check rules.file in the settings, or leave it out to use the built-in rules")
    })?;
    Rules::parse(&text).map_err(|error| {
        anyhow::Error::new(error).context(
            Fault::usage(format!("the rules in {path} (rules.file) are not valid"))
                .remedy("mend the lines named above; the built-in rules show the form"),
        )
    })
}
