//! `egret apply`: puts a configuration in force.

use api::http::{Applied, ApplyRequest, path};

use gateway::intent::parse_bytes;

use crate::{
    args::ApplyArgs,
    daemon::{CallError, Daemon, Request},
    failure::{Exit, Failure},
    output::Output,
    text::printable,
};

/// Sends a configuration, and tells what it changed or what is wrong with it.
pub async fn run(daemon: &Daemon, output: &mut Output, args: ApplyArgs) -> Result<Exit, Failure> {
    let file = super::name(&args.file);
    let text = match String::from_utf8(super::read(&args.file)?) {
        Ok(text) => text,
        Err(error) => return refuse(output, &file, error.as_bytes()),
    };
    let request = Request::post(
        path::CONFIG,
        &ApplyRequest {
            file: file.clone(),
            text,
            dry_run: args.dry_run,
            save: args.save,
        },
    );

    if output.is_json() {
        let answer = daemon.send(request).await?;
        if answer.is_about_problems() {
            output.json_answer(answer).await?;
            return Ok(Exit::Refused);
        }
        output.json_answer(answer.accepted().await?).await?;
        return Ok(Exit::Fine);
    }
    match daemon.ask::<Applied>(request).await {
        Ok(applied) => {
            for warning in &applied.warnings {
                output.remark(&format!("{warning}\n"))?;
            }
            output.text(&show(&applied, &file))?;
            Ok(Exit::Fine)
        }
        Err(CallError::Problems(problems)) => Err(Failure::Problems(problems)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what is no text, in the daemon's words: the API carries nothing else.
fn refuse(output: &mut Output, file: &str, bytes: &[u8]) -> Result<Exit, Failure> {
    let problems = parse_bytes(file, bytes).err().unwrap_or_default();
    if output.is_json() {
        output.json(&problems)?;
        return Ok(Exit::Refused);
    }
    Err(Failure::Problems(problems))
}

/// The changes, then what became of them.
pub fn show(applied: &Applied, file: &str) -> String {
    let changes: String = applied
        .changes
        .iter()
        .map(|change| format!("- {}\n", printable(change)))
        .collect();
    let file = printable(file);
    let outcome = match (applied.applied, applied.changes.is_empty()) {
        (true, true) => format!("{file} is in force; it changed nothing"),
        (true, false) => format!("{file} is in force"),
        (false, true) => format!("{file} would change nothing"),
        (false, false) => format!("{file} would change this; nothing was changed now"),
    };
    let lasts = match (applied.applied, applied.saved) {
        (true, true) => ", and saved",
        (true, false) => "\nnot saved: a restart loads the daemon's own file (--save writes it)",
        (false, _) => "",
    };
    format!("{changes}{outcome}{lasts}\n")
}
