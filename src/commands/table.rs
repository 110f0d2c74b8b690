//! The table of `status`: a line for each database, cut to the width of a terminal.

use comfy_table::ColumnConstraint::{ContentWidth, LowerBoundary};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Row, Table, Width};

use crate::show::{columns, shorten};

const HEADER: [&str; 10] = [
    "DATABASE",
    "STATE",
    "LEADER",
    "SINCE",
    "OUTBOX",
    "OLDEST",
    "NO PROBLEM",
    "MISS",
    "REJ",
    "FAIL",
];

/// The columns that are right-aligned.
const NUMBERS: std::ops::Range<usize> = 3..10;

/// The column of the leader.
const LEADER: usize = 2;

/// The width that a table that is too wide leaves to the database name and to the leader, by
/// column.
const LEAST: [(usize, u16); 2] = [(0, 10), (LEADER, 12)];

/// The table with these rows, of at most this width where that is possible.
pub(super) fn table(rows: impl Iterator<Item = [String; 10]>, width: usize) -> Table {
    let mut rows: Vec<_> = rows.collect();
    shorten_leaders(&mut rows, width);
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(HEADER);
    for cells in rows {
        let mut row = Row::from(cells);
        row.max_height(1);
        table.add_row(row);
    }
    let widths = table.column_max_content_widths();
    for (index, (column, width)) in table.column_iter_mut().zip(widths).enumerate() {
        let gap = u16::from(index + 1 < HEADER.len());
        let least = LEAST.iter().find(|(of, _)| *of == index);
        column.set_padding((0, gap));
        column.set_constraint(match least {
            Some((_, least)) => LowerBoundary(Width::Fixed(width.min(*least) + gap)),
            None => ContentWidth,
        });
        if NUMBERS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Shortens the hosts of the leaders in a table that is too wide, so that the process stays whole.
fn shorten_leaders(rows: &mut [[String; 10]], width: usize) {
    let widest = |column: usize| {
        let cells = rows.iter().map(|cells| columns(&cells[column]));
        cells.chain([columns(HEADER[column])]).max().unwrap_or(0)
    };
    let others = (0..HEADER.len()).filter(|column| *column != LEADER);
    let taken: usize = others.map(widest).sum::<usize>() + HEADER.len() - 1;
    let (_, least) = LEAST[1];
    let room = width.saturating_sub(taken).max(usize::from(least));
    for cells in rows {
        let leader = &cells[LEADER];
        if let Some((host, process)) = leader.rsplit_once('/')
            && columns(leader) > room
        {
            let host = shorten(host, room.saturating_sub(columns(process) + 1));
            cells[LEADER] = format!("{host}/{process}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::WIDTH;

    /// The lines of a table with this database, leader and number of rejected agents.
    fn shown(rows: &[[&str; 3]]) -> Vec<String> {
        let rows = rows.iter().map(|[database, leader, rejected]| {
            let cells = [
                database, "busy", leader, "12d", "100k+", "3h", "~123k", "0", rejected,
            ];
            std::array::from_fn(|index| (*cells.get(index).unwrap_or(&"7")).to_owned())
        });
        table(rows, WIDTH).lines().collect()
    }

    #[test]
    fn a_table_has_the_width_of_its_cells() {
        let lines = shown(&[["main", "local/1", "5"], ["other", "–", "1,234"]]);
        let expected = [
            "DATABASE STATE LEADER  SINCE OUTBOX OLDEST NO PROBLEM MISS   REJ FAIL",
            "main     busy  local/1   12d  100k+     3h      ~123k    0     5    7",
            "other    busy  –         12d  100k+     3h      ~123k    0 1,234    7",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_table_that_is_too_wide_is_cut_to_80_columns() {
        let leader = "app-server-17.eu-west-1.example.com/123456";
        for database in [
            "main",
            "a-name-that-is-very-long-but-allowed",
            "日本語の長いデータベース名",
        ] {
            let lines = shown(&[[database, leader, "5"], ["☎️☎️☎️☎️☎️☎️☎️☎️", "ネオ/1", "0"]]);
            assert_eq!(lines.len(), 3, "{lines:?}");
            for line in &lines {
                assert!(columns(line) <= 80, "{line}");
            }
            assert!(
                lines[1].contains("app-") && lines[1].contains("…/123456 "),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_leader_that_is_too_wide_keeps_its_process() {
        let cells = [
            "platform",
            "unreachable",
            "127.0.0.1/15363",
            "22s",
            "120",
            "3d",
            "4,937",
            "2",
            "2",
            "1",
        ];
        let lines: Vec<_> = table([cells.map(str::to_owned)].into_iter(), WIDTH)
            .lines()
            .collect();
        assert!(lines[1].contains(" 127.0.0…/15363 "), "{lines:?}");
    }
}
