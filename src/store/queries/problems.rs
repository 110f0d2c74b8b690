//! The problems: agents that could not be brought in sync, and why.
//!
//! The leader is the only writer of the problems of agents, but for an install that unsets the
//! tenants. So nothing comes between a look for such a problem and its change. `doctor` deletes one
//! row as well, that of its own made-up slug (`store::enqueue::forget_canary`). The indexes are on
//! the digests of the key and of the slug ([`Keys::is`]).

use super::claimed::{LONGEST_SLUG, LOST_ON_THE_WAY, too_long};
use super::sent::{beginning, sent, shown};
use crate::key::Keys;

/// Looks up the problems of the keys of `given`, its column `slug`, each with its ctid. The ctid is
/// used in the same statement, together with the key. LATERAL has each key looked up by itself.
fn known(keys: Keys) -> String {
    let is = keys.is("q", "g.slug");
    format!(
        "known AS MATERIALIZED (
        SELECT g.slug, p.* FROM given g
        JOIN LATERAL (SELECT q.ctid AS place, q.kind, q.detail, q.sqlstate, q.attempts,
                             q.next_attempt
                      FROM agent_sync.problem q WHERE {is} OFFSET 0) AS p ON true)"
    )
}

/// Whether the given problem `g` equals the noted one, `k`: the same kind for the same reason. The
/// reason of a refused write is its SQLSTATE and the object in the error, which are in the
/// parentheses of the detail. The text before them is not compared. That of a missing configuration
/// names a similar slug as it was when the problem began.
const IS_SAME: &str = "coalesce(k.kind = g.kind AND k.sqlstate IS NOT DISTINCT FROM g.sqlstate
     AND CASE WHEN g.kind = 'missing_configuration' THEN true
              WHEN g.sqlstate IS NULL THEN k.detail = g.detail
              ELSE substring(k.detail FROM '[(]SQLSTATE.*') IS NOT DISTINCT
                FROM substring(g.detail FROM '[(]SQLSTATE.*') END, false)";

/// Whether the given problem `g` was found only because of a request for its slug, is the noted
/// one, and waits for its next attempt as before: then nothing is written or logged (S8). A
/// problem that was due has no time of its next attempt.
fn is_old_news() -> String {
    format!("(g.asked AND {IS_SAME} AND (k.next_attempt IS NOT NULL) = g.retries)")
}

/// Notes the problems in the query `given`, with the columns `slug, kind, detail, sqlstate,
/// retries, asked`; the slugs are distinct. `with` holds common table expressions that come before.
/// The result is that of `returned`: a query of the rows `g` of `given` and `k` of `known`. A slug
/// may have any number of bytes, so a query that returns one bounds it (G12).
///
/// `since` stays while the kind does. What `retries` is tried again after 2 s, doubling to 5
/// minutes.
fn note(keys: Keys, with: &str, given: &str, returned: &str) -> String {
    let (is_old_news, known) = (is_old_news(), known(keys));
    let (key, names, values) = (keys.of_row("p"), keys.names(), keys.values("g.slug"));
    format!(
        "WITH {with} given AS MATERIALIZED ({given}), {known}, updated AS (
             UPDATE agent_sync.problem p SET
                 kind = g.kind,
                 detail = CASE WHEN p.kind = g.kind AND g.kind = 'missing_configuration'
                   THEN p.detail ELSE g.detail END,
                 sqlstate = g.sqlstate,
                 since = CASE WHEN p.kind = g.kind THEN p.since ELSE now() END,
                 last_seen = now(),
                 attempts = CASE WHEN p.kind = g.kind THEN p.attempts + 1 ELSE 1 END,
                 next_attempt = CASE WHEN g.retries THEN now() + least(interval '5 minutes',
                     interval '2 seconds' * power(2::float8, least(p.attempts, 20)::float8)) END
             FROM given g JOIN known k ON k.slug = g.slug
             WHERE p.ctid = ANY (ARRAY(SELECT known.place FROM known)) AND p.ctid = k.place
               AND {key} = k.slug AND NOT {is_old_news}
         ), inserted AS (
             INSERT INTO agent_sync.problem ({names}, kind, detail, sqlstate, next_attempt)
             SELECT {values}, g.kind, g.detail, g.sqlstate, CASE WHEN g.retries
               THEN now() + interval '2 seconds' END
             FROM given g LEFT JOIN known k ON k.slug = g.slug WHERE k.slug IS NULL
         )
         {returned}"
    )
}

/// Gives the slugs of the rows that were set aside: the beginning of a long one.
fn beginnings() -> String {
    format!("SELECT {} FROM given g", shown(&beginning("g.slug")))
}

/// Notes problems: `$1` the slugs, `$2` the kinds, `$3` the reasons, `$4` the SQLSTATEs, `$5`
/// whether it is tried again, `$6` whether the slug was requested.
///
/// Gives the slugs whose problem is not to be logged. A new or changed one is, an unchanged one at
/// its 2nd, 4th, 8th … attempt (G5, S8).
pub fn note_problems(keys: Keys) -> String {
    let (slug, is_old_news) = (shown("g.slug"), is_old_news());
    let not_logged = format!(
        "SELECT {slug} FROM given g JOIN known k ON k.slug = g.slug
         WHERE NOT (NOT {IS_SAME} OR (k.attempts + 1) & k.attempts = 0 AND NOT {is_old_news})"
    );
    note(
        keys,
        "",
        "SELECT u.slug, u.kind, u.detail, u.sqlstate, u.retries, u.asked
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[]) AS u
           (slug, kind, detail, sqlstate, retries, asked)",
        &not_logged,
    )
}

/// Clears the problems of the slugs in the query `given`, with the column `slug`. `with` holds
/// common table expressions that come before.
fn clear(keys: Keys, with: &str, given: &str) -> String {
    let (known, key) = (known(keys), keys.of_row("p"));
    format!(
        "WITH {with} given AS ({given}), {known}
         DELETE FROM agent_sync.problem p USING known k
         WHERE p.ctid = ANY (ARRAY(SELECT known.place FROM known)) AND p.ctid = k.place
           AND {key} = k.slug"
    )
}

/// Clears the problems of the slugs `$1`.
pub fn clear_problems(keys: Keys) -> String {
    clear(keys, "", "SELECT unnest($1::text[]) AS slug")
}

/// The slugs of the outbox rows at the places `$1` with the versions `$2`, which are deleted.
fn taken(keys: Keys) -> String {
    let key = keys.of_row("o");
    format!(
        "taken AS (
             DELETE FROM agent_sync.outbox o USING unnest($1::tid[], $2::xid[]) AS t (place,
               version)
             WHERE o.ctid = ANY ($1) AND o.ctid = t.place AND o.xmin = t.version
             RETURNING {key} AS slug), "
    )
}

/// Deletes the outbox rows at the places `$1` with the versions `$2`, and notes a problem for their
/// slugs, which are too long, no text in UTF-8, or another text after the way to UTF-8 and back.
/// The slug goes from table to table inside the server, and never to the daemon.
pub fn set_aside_not_text(keys: Keys) -> String {
    let sent = sent("taken.slug");
    note(
        keys,
        &taken(keys),
        &format!(
            "SELECT DISTINCT taken.slug, 'rejected' AS kind,
                CASE WHEN octet_length(taken.slug) > {LONGEST_SLUG}
                     THEN '{}' || octet_length(taken.slug)
                     WHEN {sent} IS NULL THEN '{LOST_ON_THE_WAY}'
                     ELSE 'slug: expected text in UTF-8, found other bytes' END AS detail,
                       NULL::text AS sqlstate, false AS retries, false AS asked
             FROM taken",
            too_long("")
        ),
        "SELECT count(*) FROM given",
    )
}

/// Deletes the same rows of the outbox where no agent has the slug any more, and ends its problem.
pub fn forget_not_text(keys: Keys) -> String {
    clear(keys, &taken(keys), "SELECT DISTINCT taken.slug FROM taken")
}

/// Notes the suspect, the slug that a connection begins with, in `agent_sync.install`, and how many
/// have begun with it, which it gives. It is the slug that the last one has ended on, if that is in
/// the outbox, or else that of the first row from the place `$1` on. One that is known to end
/// connections (the SQLSTATE `$2`) has `$3` tries behind it.
pub fn note_suspect(keys: Keys) -> String {
    let (key, has_problem) = (keys.of_row("o"), keys.is("p", "suspect.slug"));
    format!(
        "
    WITH same AS (
        SELECT {key} AS slug FROM agent_sync.outbox o
        WHERE {key} = (SELECT i.last_tried FROM agent_sync.install i
          WHERE i.last_tried IS NOT NULL) LIMIT 1
    ), suspect AS (
        SELECT same.slug FROM same
        UNION ALL
        (SELECT {key} AS slug FROM agent_sync.outbox o WHERE o.ctid >= $1 AND NOT EXISTS (SELECT
          FROM same) LIMIT 1)
    )
    UPDATE agent_sync.install i SET
        last_tried = suspect.slug,
        tries = CASE WHEN i.last_tried = suspect.slug THEN i.tries + 1
                     WHEN EXISTS (SELECT FROM agent_sync.problem p WHERE {has_problem}
                       AND p.sqlstate = $2) THEN $3
                     ELSE 1 END
    FROM suspect
    RETURNING i.tries"
    )
}

/// Notes the slug `$1`, which is known to end connections, as the one that is tried next, with `$2`
/// tries behind it.
pub const NOTE_DANGEROUS: &str = "UPDATE agent_sync.install SET last_tried = $1, tries = $2";

/// Forgets what [`note_suspect`] has noted.
pub const FORGET_SUSPECT: &str =
    "UPDATE agent_sync.install SET last_tried = NULL, tries = 0 WHERE last_tried IS NOT NULL";

/// Takes every row of the slug that [`note_suspect`] has noted out of the outbox, and notes that it
/// failed for the reason `$1` with the SQLSTATE `$2`, null where there is none: gives the slug.
pub fn set_aside_suspect(keys: Keys) -> String {
    let key = keys.of_row("o");
    note(
        keys,
        &format!(
            "tried AS (
             UPDATE agent_sync.install i SET last_tried = NULL, tries = 0
             FROM (SELECT o.last_tried AS slug FROM agent_sync.install o) AS was
             WHERE was.slug IS NOT NULL
             RETURNING was.slug
         ), taken AS (
             DELETE FROM agent_sync.outbox o USING tried WHERE {key} = tried.slug), "
        ),
        "SELECT tried.slug, 'failed' AS kind, $1::text AS detail, $2::text AS sqlstate, true AS \
        retries, false AS asked FROM tried",
        &beginnings(),
    )
}

/// Takes the first row of the outbox from the place `$1` on, without those of the keys `$4`, and
/// notes that its slug failed for the reason `$2` with the SQLSTATE `$3`: gives the slug.
pub fn set_aside_row(keys: Keys) -> String {
    let key = keys.of_row("o");
    note(
        keys,
        &format!(
            "first AS (SELECT o.ctid AS place, {key} AS slug FROM agent_sync.outbox o
              WHERE o.ctid >= $1 AND {key} <> ALL ($4::text[]) LIMIT 1), taken AS (
             DELETE FROM agent_sync.outbox o USING first
             WHERE o.ctid = ANY (ARRAY(SELECT first.place FROM first)) AND {key} = first.slug
             RETURNING {key} AS slug), "
        ),
        "SELECT taken.slug, 'failed' AS kind, $2::text AS detail, $3::text AS sqlstate, true AS \
        retries, false AS asked FROM taken",
        &beginnings(),
    )
}
