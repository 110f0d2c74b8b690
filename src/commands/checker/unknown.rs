//! The requested slugs and the tenant that no database has.

use super::super::tenant::{Unknown, hint};
use super::Checker;
use crate::exit::Exit;
use crate::show::{RED, WIDTH, indented};

impl Checker<'_> {
    /// Prints the requested slugs that no agent has, and a tenant that no database has. `reached`
    /// of `of` databases could be checked.
    pub(in crate::commands) fn unknown(&mut self, reached: usize, of: usize) -> Exit {
        if reached == 0 {
            return Exit::Done;
        }
        let place = if reached < of {
            ", as far as could be checked"
        } else {
            ""
        };
        let unknown: Vec<_> = self
            .slugs
            .iter()
            .filter(|slug| !self.seen.contains(**slug))
            .collect();
        for slug in &unknown {
            let near = self.near.of(slug);
            if self.json {
                let of = (self.tenant, Some(**slug));
                self.page.json(&Unknown::of(of, &near));
            } else {
                let lead = format!("unknown   {}  ", super::super::typed(slug));
                let text = format!("no agent has this slug{place}{}", hint(&near));
                let text = indented(&lead, &text, WIDTH);
                let coloured = format!("{RED}unknown {RED:#}");
                self.page.line(text.replacen("unknown ", &coloured, 1));
            }
        }
        let of_tenant = self.sought.print(&mut self.page, place, self.json);
        if unknown.is_empty() {
            of_tenant
        } else {
            Exit::Found
        }
    }
}
