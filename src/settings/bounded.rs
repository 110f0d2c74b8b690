//! The bounded read of a file that the settings name.
//!
//! A pipe keeps its reader waiting for a writer, a device has no end, and neither can be read
//! again. A file of any size would fill the memory.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The most bytes of a file of settings, rules or certificates.
pub(crate) const LONGEST: u64 = 4 * 1024 * 1024;

/// Reads a regular file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    let found = match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a directory"),
        _ if kind.is_fifo() => Some("a pipe (FIFO)"),
        _ if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    };
    if let Some(found) = found {
        return Err(io::Error::other(format!(
            "it is {found}, and no regular file"
        )));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Reads a file of settings, rules or certificates as text.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, LONGEST)?).map_err(|_| io::Error::other("it is not UTF-8"))
}
