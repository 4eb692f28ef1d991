//! `yroom check`.

use crate::commands::open_existing;
use crate::utc::utc;
use std::path::PathBuf;
use std::process::ExitCode;
use yroom_net::store::{RoomReport, Summary, check};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data directory.
    dir: PathBuf,

    /// Also list the rooms that are sound.
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    let mut store = open_existing(&args.dir)?;
    let summary = check(&mut *store, |room| {
        if args.list || room.damage.is_some() || room.remnant.is_some() {
            println!("{}", line(room));
        }
    });
    let summary = summary.map_err(|fault| format!("{}: {fault}", args.dir.display()))?;
    print_summary(&summary);
    Ok(if summary.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(room: &RoomReport) -> String {
    let RoomReport { name, rows, bytes, readable_upto, .. } = room;
    let state = match (&room.damage, &room.remnant) {
        (Some(damage), _) => {
            format!("DAMAGED: {damage}; readable up to {}, see export --salvage", readable_upto.0)
        }
        (None, Some(remnant)) => format!("sound; {remnant}, left by a crash"),
        (None, None) => "sound".to_owned(),
    };
    let changed = room.changed_ms.map(|ms| format!(", changed {}", utc(ms))).unwrap_or_default();
    format!("{name:?}: {state} ({} updates, {rows} rows, {bytes} bytes{changed})", readable_upto.0)
}

fn print_summary(summary: &Summary) {
    for problem in &summary.medium.problems {
        println!("PROBLEM: {problem}");
    }
    for remnant in &summary.medium.remnants {
        println!("left by a crash: {remnant}");
    }
    println!(
        "{} rooms, {} damaged; {} rows, {} bytes; {} other problems",
        summary.rooms,
        summary.damaged,
        summary.rows,
        summary.bytes,
        summary.medium.problems.len()
    );
}
