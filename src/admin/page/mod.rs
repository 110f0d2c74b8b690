//! The status page at `/`, which loads only `/status`, and the page of an agent, which loads only
//! itself as JSON.
//!
//! Each is assembled once from its files. Its content security policy names the style sheet and the
//! script by their hashes, so a browser runs no other code and the text of a slug or a reason stays
//! text. A page cannot be framed.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use crate::show::Clean;

const HEAD: &str = include_str!("head.html");
const STYLE: &str = include_str!("page.css");
const COMMON: &str = include_str!("common.js");

/// A document and its content security policy.
struct Page {
    document: String,
    policy: String,
}

/// The answer with the status page.
pub(super) fn status() -> Answer {
    static PAGE: OnceLock<Page> = OnceLock::new();
    answer(PAGE.get_or_init(|| Page::new(include_str!("index.html"), include_str!("page.js"))))
}

/// The answer with the page of an agent, which is the same for every agent.
pub(super) fn agent() -> Answer {
    static PAGE: OnceLock<Page> = OnceLock::new();
    answer(PAGE.get_or_init(|| Page::new(include_str!("agent.html"), include_str!("agent.js"))))
}

fn answer(Page { document, policy }: &'static Page) -> Answer {
    Answer {
        status: StatusCode::OK,
        content_type: "text/html; charset=utf-8",
        policy,
        body: Clean::verbatim(document),
        room: None,
    }
}

impl Page {
    /// From the body of a document and its script.
    fn new(body: &str, script: &str) -> Self {
        let script = format!("{COMMON}\n{script}");
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src \
            data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            source(STYLE),
            source(&script)
        );
        Self {
            document: HEAD.replace("/* style */", STYLE) + &body.replace("/* script */", &script),
            policy,
        }
    }
}

/// The source expression of an inline text in the policy: its hash.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [(&str, &str); 2] = [
        (include_str!("index.html"), include_str!("page.js")),
        (include_str!("agent.html"), include_str!("agent.js")),
    ];

    #[test]
    fn a_page_holds_what_its_policy_names_and_asks_for_nothing_else() {
        for (document, script) in PAGES {
            let script = format!("{COMMON}\n{script}");
            let Page { document, policy } = Page::new(document, &script[COMMON.len() + 1..]);
            for (text, tag) in [(STYLE, "style"), (&*script, "script")] {
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
    }

    #[test]
    fn nothing_is_ever_put_into_a_page_as_markup() {
        for (document, script) in PAGES {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "srcdoc",
                "Function(",
            ] {
                assert!(!script.contains(way) && !COMMON.contains(way), "{way}");
            }
            assert!(
                ![HEAD, document]
                    .iter()
                    .any(|text| text.contains(" style=") || text.contains(" onclick=")),
                "the policy would forbid it"
            );
        }
    }
}
