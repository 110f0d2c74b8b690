//! `make bench`: measures every figure of agent-sync beside its baseline, in one run, interleaved.
//! A change of features needs none of this code.
//!
//! `docs/performance.md` and the header of each file in `figures/` say what a figure means and why
//! its comparison is fair. Progress goes to standard error, the table to standard output, and
//! `target/bench` gets the figures as JSON and as a plot. Nothing is left behind when the run ends:
//! see `agent_sync_testbed`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to whoever runs it"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are shown with three digits"
)]
#![allow(clippy::format_push_string, reason = "texts of a few lines, made once")]
#![allow(unreachable_pub, reason = "one binary, as tests/main.rs is")]

mod args;
mod figures;
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Parser as _, ValueEnum as _};

use args::Args;
use figures::Figure;
use support::lab::Lab;
use support::plot;
use support::report::Report;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        for figure in Figure::value_variants() {
            println!("{:<14} {}", figure.name(), figure.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(args))?;
    print!("\n{}", report.table());
    write(&report, &output_folder()?)?;
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures the figures in turn. A failed figure does not stop the others.
async fn measure(args: Args) -> anyhow::Result<Report> {
    let mut lab = Lab::start(args)?;
    let machine = lab.machine().await?;
    eprintln!("{}", machine.title());
    let mut report = Report {
        machine,
        quick: lab.args.quick,
        rows: Vec::new(),
        failures: Vec::new(),
    };
    let figures: Vec<Figure> = lab.args.figures().collect();
    let begun = Instant::now();
    for figure in figures {
        eprintln!(
            "[{:>4.0} s] {}: {}",
            begun.elapsed().as_secs_f64(),
            figure.name(),
            figure.about()
        );
        match Box::pin(figure.measure(&mut lab)).await {
            Ok(rows) => {
                report.rows.extend(rows.into_iter().map(|mut row| {
                    row.figure = figure.name();
                    row
                }));
            }
            Err(error) => {
                eprintln!("  failed: {error:#}");
                report.failures.push((figure.name(), format!("{error:#}")));
            }
        }
        if let Err(error) = lab.clear().await {
            report.failures.push((
                figure.name(),
                format!("no figure after this one: {error:#}"),
            ));
            break;
        }
    }
    eprintln!("[{:>4.0} s] done", begun.elapsed().as_secs_f64());
    Ok(report)
}

/// The path of `target/bench`.
fn output_folder() -> anyhow::Result<PathBuf> {
    let daemon = Path::new(env!("CARGO_BIN_EXE_agent-sync"));
    let target = daemon
        .parent()
        .and_then(Path::parent)
        .context("the daemon is in no target folder")?;
    Ok(target.join("bench"))
}

fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("could not make {}", folder.display()))?;
    let files = [
        ("figures.json", format!("{:#}\n", report.json())),
        ("figures.svg", plot::svg(report)),
    ];
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("could not write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
