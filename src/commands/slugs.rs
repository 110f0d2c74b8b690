//! A list of slugs from a file or from standard input, one a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;

use crate::exit::{Exit, Fault};

/// The limit of a list, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

/// Reads the slugs of a file; `-` is standard input. Empty lines do not count.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<String>> {
    let is_stdin = file == Path::new("-");
    let name = if is_stdin {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let unread = || {
        Fault::new(Exit::Usage, format!("the slugs in {name} cannot be read"))
            .remedy("check the file of --slugs-from")
    };
    let bytes = if is_stdin {
        read_from(io::stdin().lock())
    } else {
        File::open(file).and_then(read_from)
    };
    let bytes = bytes.with_context(unread)?;
    if bytes.len() as u64 > MOST {
        let what = format!("{name}: expected at most {MOST} bytes of slugs, found more");
        return Err(Fault::usage(what).remedy("split the list").into());
    }
    let text = String::from_utf8(bytes).context(
        Fault::usage(format!("{name}: expected slugs in UTF-8")).remedy("give one slug a line"),
    )?;
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn read_from(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
