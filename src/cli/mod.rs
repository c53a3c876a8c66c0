//! The command line: `a2a-webcap COMMAND`.
//!
//! Names, flags, output, exit codes and the error envelope follow the a2a-cli specification, version 0.2, as
//! far as they go: `card get`, `send`, `task get|list|cancel|subscribe`; `serve`, `doctor`, `backup`, `restore`
//! and `task delete` are our own. Nothing is remembered between two runs. Results go to standard output and
//! everything else to standard error; there are no colours, no prompts, and no secrets in either.

mod backup;
mod card;
mod doctor;
mod error;
mod follow;
mod output;
mod parts;
mod reach;
mod send;
mod serve;
mod store;
mod task;
mod text;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use error::{CliError, exit};
use output::Output;

#[derive(Debug, Parser)]
#[command(
    name = "a2a-webcap",
    version,
    about = "A2A (Agent2Agent) as object capabilities: a server, and a client for it",
    disable_version_flag = true,
    color = clap::ColorChoice::Never
)]
struct Cli {
    #[command(flatten)]
    global: Global,

    /// Print the version and exit.
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    command: Command,
}

/// What every command of the client understands.
#[derive(Clone, Debug, Args)]
struct Global {
    /// The agent: HOST:PORT, an origin, its agent card's URL, or a card in a file [default: 127.0.0.1:8420]
    #[arg(short = 'a', long, global = true, value_name = "REF", env = "A2ACLI_AGENT_CARD")]
    agent_card: Option<String>,

    /// The API key to show [default: the local server's development key]
    #[arg(long, global = true, value_name = "KEY", env = "A2ACLI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// The bearer token to show
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "A2ACLI_BEARER",
        hide_env_values = true,
        conflicts_with = "api_key"
    )]
    bearer: Option<String>,

    /// The format of what is printed
    #[arg(short = 'o', long, global = true, value_enum, default_value = "text", env = "A2ACLI_OUTPUT")]
    output: Format,

    /// How long to wait before giving up, such as 500ms, 30s or 2m [default: 30s; a task may take for ever]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "A2ACLI_TIMEOUT")]
    timeout: Option<Duration>,

    /// The version of A2A to speak
    #[arg(long, global = true, value_name = "VERSION", default_value = "1.0", env = "A2ACLI_A2A_VERSION")]
    a2a_version: String,

    /// A service parameter to send along; repeatable
    #[arg(long, global = true, value_name = "NAME:VALUE")]
    svc_param: Vec<String>,

    /// Say on standard error what the tool does
    #[arg(long, global = true, env = "A2ACLI_DEBUG")]
    debug: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: one field a line, contents as blocks
    Text,
    /// A2A's own types
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server
    Serve(serve::Serve),
    /// Send a message, to start or to continue a task
    Send(send::Send),
    /// Look at tasks and work on them
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Look at an agent
    #[command(subcommand)]
    Card(card::CardCommand),
    /// Look at the store, the disk, the clock and every setting; changes nothing
    Doctor(doctor::Doctor),
    /// Copy a store, while a server writes to it or not
    Backup(backup::Backup),
    /// Make a store from a backup
    Restore(backup::Restore),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut output = Output::new(Box::new(io::stdout()), Box::new(io::stderr()));
    let arguments: Vec<_> = std::env::args_os().collect();
    ExitCode::from(run(arguments, &mut output))
}

fn run(arguments: Vec<std::ffi::OsString>, output: &mut Output) -> u8 {
    // Read off by hand: where the arguments cannot be parsed, there is nobody else who knows.
    output.set_format(if asks_for_json(&arguments) { Format::Json } else { Format::Text });
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return written(output.raw(&error.to_string())),
        Err(error) => return finish(output, Err(CliError::usage(error.to_string()))),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return finish(output, Err(CliError::usage(error.to_string()))),
    };
    output.set_format(cli.global.output);
    let result = execute(cli, &matches, output);
    finish(output, result)
}

fn execute(cli: Cli, matches: &clap::ArgMatches, output: &mut Output) -> Result<(), CliError> {
    let Cli { global, command, .. } = cli;
    let serving = matches!(command, Command::Serve(_));
    log_to_stderr(global.debug, serving);
    let mut runtime = if serving {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build().map_err(|error| CliError::internal(error.to_string()))?;
    runtime.block_on(async {
        match command {
            Command::Serve(command) => command.run(output).await,
            Command::Send(command) => {
                let parts = matches.subcommand_matches("send");
                let parts = parts.map(parts::read).transpose()?.unwrap_or_default();
                command.run(&global, parts, output).await
            }
            Command::Task(command) => command.run(&global, output).await,
            Command::Card(command) => command.run(&global, output).await,
            Command::Doctor(command) => command.run(output),
            Command::Backup(command) => command.run(output),
            Command::Restore(command) => command.run(output),
        }
    })
}

/// Reports how it went, and gives the exit code.
fn finish(output: &mut Output, result: Result<(), CliError>) -> u8 {
    match result {
        Ok(()) => exit::SUCCESS,
        Err(CliError::Pipe(error)) => written(Err(error)),
        Err(CliError::Interrupted) => exit::INTERRUPTED,
        Err(CliError::Said(code)) => code,
        Err(CliError::Failed(failure)) => {
            let code = failure.exit;
            match output.failure(&failure) {
                Ok(()) => code,
                Err(error) => written(Err(error)).max(code),
            }
        }
    }
}

/// Whoever closes our output (`| head`) has seen enough: that is no failure.
fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => exit::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::SUCCESS,
        Err(_) => exit::FAILURE,
    }
}

fn asks_for_json(arguments: &[std::ffi::OsString]) -> bool {
    let texts: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let joined = |text: &str| matches!(text, "-ojson" | "-o=json" | "--output=json");
    let separate = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    texts.iter().any(|text| joined(text)) || texts.windows(2).any(separate)
}

fn log_to_stderr(debug: bool, serving: bool) {
    let level = match (debug, serving) {
        (true, _) => "a2a_webcap=debug",
        (false, true) => "info",
        (false, false) => return,
    };
    let filter = std::env::var("A2A_WEBCAP_LOG").unwrap_or_else(|_| level.to_owned());
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false);
    // Within somebody else's program there may be a subscriber already.
    let _ = subscriber.with_env_filter(filter).try_init();
}

/// `500ms`, `30s`, `2m`, `1h`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().map_err(|_| "write a number and a unit: 500ms, 30s, 2m".to_owned())?;
    let millis = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("{unit:?} is no unit; the units are ms, s, m and h")),
    };
    let bounded = millis.filter(|millis| (1..=LONGEST_TIMEOUT_MS).contains(millis));
    bounded.map(Duration::from_millis).ok_or_else(|| "must be from 1ms to 8760h".to_owned())
}

const LONGEST_TIMEOUT_MS: u64 = 8_760 * 3_600_000;

#[cfg(test)]
mod tests;
