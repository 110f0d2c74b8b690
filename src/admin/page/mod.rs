//! The status page at `/`: one document that loads only `/status`.
//!
//! It is assembled once from three files. Its content security policy names the style sheet and the
//! script by their hashes, so a browser runs no other code and the text of a slug or a reason stays
//! text. The page cannot be framed.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use crate::show::Clean;

const DOCUMENT: &str = include_str!("index.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The document and its content security policy.
struct Page {
    document: String,
    policy: String,
}

/// The answer with the page.
pub(super) fn page() -> Answer {
    static PAGE: OnceLock<Page> = OnceLock::new();
    let Page { document, policy } = PAGE.get_or_init(Page::new);
    let content_type = "text/html; charset=utf-8";
    Answer {
        status: StatusCode::OK,
        content_type,
        policy,
        body: Clean::verbatim(document),
    }
}

impl Page {
    fn new() -> Self {
        let document = DOCUMENT
            .replace("/* page.css */", STYLE)
            .replace("/* page.js */", SCRIPT);
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src \
            data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            source(STYLE),
            source(SCRIPT)
        );
        Self { document, policy }
    }
}

/// The source expression of an inline text in the policy: its hash.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_what_its_policy_names_and_asks_for_nothing_else() {
        let Page { document, policy } = Page::new();
        for (text, tag) in [(STYLE, "style"), (SCRIPT, "script")] {
            assert!(
                document.contains(&format!("<{tag}>{text}</{tag}>")),
                "the hash is that of the whole {tag}"
            );
            assert!(policy.contains(&source(text)));
            assert!(!text.contains("</"), "nothing ends the {tag} early");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        for foreign in ["https://", "http://", "@import", "url("] {
            let own = "http://www.w3.org/2000/svg"; // A namespace, which is not loaded.
            assert!(!document.replace(own, "").contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn nothing_is_ever_put_into_the_page_as_markup() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "srcdoc",
            "Function(",
        ] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        assert!(
            !DOCUMENT.contains(" style=") && !DOCUMENT.contains(" onclick="),
            "the policy would forbid it"
        );
    }
}
