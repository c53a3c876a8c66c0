//! The command line: `a2a-webcap COMMAND`.
//!
//! Names, flags, output, exit codes and the error envelope follow the a2a-cli specification, version 0.2, as
//! far as they go (`docs/cli.md` says how far); `serve`, `demo`, `bench`, `doctor`, `key`, `share`, `claim`, `backup`, `restore`,
//! `card validate` and `task delete` are our own. Nothing is remembered between two runs. Results go to standard
//! output and everything else to standard error; there are no colours, no prompts, and no secrets in either.

mod absent;
mod agents;
mod backup;
mod bench;
mod card;
mod config;
mod demo;
mod doctor;
mod dotenv;
mod error;
mod fetch;
mod follow;
mod key;
mod keys;
mod live;
mod log;
mod otel;
mod output;
mod parts;
mod reach;
mod screen;
mod send;
mod serve;
mod share;
mod store;
mod task;
mod text;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use dotenv::{DotEnv, Taken};
use error::{CliError, exit};
use log::LogFormat;
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

    /// The API key to show. Others can see an argument: better set the variable [default: the local server's
    /// development key]
    #[arg(long, global = true, value_name = "KEY", env = "A2ACLI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// The bearer token to show. Others can see an argument: better set the variable
    #[arg(long, global = true, value_name = "TOKEN", env = "A2ACLI_BEARER", hide_env_values = true)]
    bearer: Option<String>,

    /// Options from this file: lines of A2ACLI_NAME=value. For commands of the server: settings, in TOML
    /// [default: the nearest .env; none]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The format of what is printed
    #[arg(short = 'o', long, global = true, value_enum, default_value = "text", env = "A2ACLI_OUTPUT")]
    output: Format,

    /// How long to wait before giving up, such as 500ms, 30s or 2m [default: 30s; a task may take for ever]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "A2ACLI_TIMEOUT")]
    timeout: Option<Duration>,

    /// Ask for a task's state this often, instead of having its changes pushed
    /// [default: pushed; 2s where that fails]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "A2ACLI_POLL_INTERVAL")]
    poll_interval: Option<Duration>,

    /// A binding to prefer, capnp or capnweb; repeatable, the most preferred first [default: the card's order]
    #[arg(long, global = true, value_name = "BINDING", env = "A2ACLI_TRANSPORT", value_delimiter = ',')]
    transport: Vec<String>,

    /// The version of A2A to speak [default: the highest that both speak: 1.0]
    #[arg(long, global = true, value_name = "VERSION", env = "A2ACLI_A2A_VERSION")]
    a2a_version: Option<String>,

    /// A service parameter to send along; repeatable
    #[arg(long, global = true, value_name = "NAME:VALUE")]
    svc_param: Vec<String>,

    /// Do not verify certificates; for development only [default: they are verified]
    #[arg(long, global = true, env = "A2ACLI_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,

    /// Show everything that is exchanged with the agent [default: concise]
    #[arg(long, global = true, env = "A2ACLI_VERBOSE", value_parser = FalseyValueParser::new())]
    verbose: bool,

    /// Say on standard error what the tool does, with every message on the wire
    #[arg(long, global = true, env = "A2ACLI_DEBUG", value_parser = FalseyValueParser::new())]
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
    /// See in a few seconds what this is about: a server, clients, a line that is cut, a task that is shared
    Demo(demo::Demo),
    /// Send a message, to start or to continue a task
    Send(send::Send),
    /// Look at tasks and work on them
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Look at an agent
    #[command(subcommand)]
    Card(card::CardCommand),
    /// Give a task to somebody else, for as long as this command runs
    Share(share::Share),
    /// Use what somebody has shared
    Claim(share::Claim),
    /// Look at the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make, show and revoke keys of this machine's server
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the completions of a shell
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Log in with OAuth: not supported yet
    #[command(subcommand)]
    Auth(Auth),
    /// Check an agent with the A2A TCK: not supported yet
    Conformance,
    /// Measure how fast an agent's server answers
    Bench(bench::Bench),
    /// Look at the store, the disk, the clock and every setting; changes nothing
    Doctor(doctor::Doctor),
    /// Copy a store, while a server writes to it or not
    Backup(backup::Backup),
    /// Make a store from a backup
    Restore(backup::Restore),
}

#[derive(Debug, Subcommand)]
enum Auth {
    /// Get a token interactively
    Login,
}

impl Command {
    /// Whether it is about a server of this machine, and not a client's.
    fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::Serve(_)
                | Self::Demo(_)
                | Self::Doctor(_)
                | Self::Backup(_)
                | Self::Restore(_)
                | Self::Key(_)
        )
    }
}

/// A command line, read.
struct Line {
    cli: Cli,
    matches: clap::ArgMatches,
    /// What of it was set by files.
    taken: Vec<Taken>,
    remarks: Vec<String>,
}

/// Why there is nothing to run.
enum Unread {
    /// Help, or the version: a result.
    Shown(String),
    Wrong(CliError),
}

impl Line {
    fn read(mut arguments: Vec<OsString>) -> Result<Self, Unread> {
        let (cli, matches) = Self::parse(&arguments)?;
        if cli.command.is_of_server() {
            return Ok(Self { cli, matches, taken: Vec::new(), remarks: Vec::new() });
        }
        let explicit = cli.global.config.as_deref().filter(|path| !store::is_settings(path));
        let mut files = DotEnv::read(explicit).map_err(Unread::Wrong)?;
        let taken = files.missing(&Cli::command(), &matches);
        let remarks = files.remarks;
        if taken.is_empty() {
            return Ok(Self { cli, matches, taken, remarks });
        }
        // As if they had been written before everything else.
        arguments.splice(1..1, taken.iter().map(|taken| (&taken.argument).into()));
        let (cli, matches) = Self::parse(&arguments)?;
        Ok(Self { cli, matches, taken, remarks })
    }

    fn parse(arguments: &[OsString]) -> Result<(Cli, clap::ArgMatches), Unread> {
        let unread = |error: clap::Error| match error.use_stderr() {
            true => Unread::Wrong(CliError::usage(error.to_string())),
            false => Unread::Shown(error.to_string()),
        };
        let mut matches = Cli::command().try_get_matches_from(arguments).map_err(unread)?;
        one_credential(&mut matches).map_err(Unread::Wrong)?;
        Ok((Cli::from_arg_matches(&matches).map_err(unread)?, matches))
    }
}

/// An argument wins over the environment, for credentials of different kinds too; two arguments contradict each other.
fn one_credential(matches: &mut clap::ArgMatches) -> Result<(), CliError> {
    for id in ["api_key", "bearer"] {
        // A variable that is set to nothing is as good as none.
        if matches.get_one::<String>(id).is_some_and(String::is_empty) {
            let _ = matches.remove_one::<String>(id);
        }
    }
    let source = |id: &str| matches.get_one::<String>(id).and_then(|_| matches.value_source(id));
    match (source("api_key"), source("bearer")) {
        (Some(one), Some(other)) if one == other => {
            Err(CliError::usage("there are two credentials: give either an API key or a bearer token"))
        }
        (Some(ValueSource::CommandLine), Some(_)) => {
            let _ = matches.remove_one::<String>("bearer");
            Ok(())
        }
        (Some(_), Some(ValueSource::CommandLine)) => {
            let _ = matches.remove_one::<String>("api_key");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut output = Output::new(Box::new(io::stdout()), Box::new(io::stderr()));
    let arguments: Vec<_> = std::env::args_os().collect();
    ExitCode::from(run(arguments, &mut output))
}

fn run(arguments: Vec<OsString>, output: &mut Output) -> u8 {
    // Read off by hand: where the arguments cannot be parsed, there is nobody else who knows.
    output.set_format(if asks_for_json(&arguments) { Format::Json } else { Format::Text });
    let line = match Line::read(arguments) {
        Ok(line) => line,
        Err(Unread::Shown(text)) => return written(output.raw(&text)),
        Err(Unread::Wrong(error)) => return finish(output, Err(error)),
    };
    output.set_format(line.cli.global.output);
    output.set_verbose(line.cli.global.verbose);
    for remark in &line.remarks {
        output.remark(remark);
    }
    let result = execute(line, output);
    output.live().stop();
    finish(output, result)
}

fn execute(line: Line, output: &mut Output) -> Result<(), CliError> {
    let Line { cli: Cli { global, command, .. }, matches, taken, .. } = line;
    let serving = matches!(command, Command::Serve(_));
    let log = log::start(global.debug, serving, output.live().clone())?;
    if serving && log == Some(LogFormat::Json) {
        output.log_remarks();
    }
    // Dropped last, when the runtime's tasks have ended, and with them their spans.
    let exporting = otel::start(&command, output)?;
    let mut runtime = if serving {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build().map_err(|error| CliError::internal(error.to_string()))?;
    let config = global.config.as_deref();
    runtime.block_on(exporting.around(matches.subcommand_name(), async {
        match command {
            Command::Serve(command) => command.run(config, output).await,
            Command::Demo(command) => command.run(output).await,
            Command::Send(command) => {
                let parts = matches.subcommand_matches("send");
                let parts = parts.map(parts::read).transpose()?.unwrap_or_default();
                command.run(&global, parts, output).await
            }
            Command::Task(command) => command.run(&global, output).await,
            Command::Card(command) => command.run(&global, output).await,
            Command::Share(command) => command.run(&global, output).await,
            Command::Claim(command) => command.run(&global, output).await,
            Command::Bench(command) => command.run(&global, output).await,
            Command::Config(config::ConfigCommand::Show) => {
                config::show(&global, (&Cli::command(), &matches), &taken, output)
            }
            Command::Key(command) => command.run(&global, output),
            Command::Completion { shell } => Ok(output.raw(&completion(shell))?),
            Command::Auth(Auth::Login) => Err(absent::login()),
            Command::Conformance => Err(absent::conformance()),
            Command::Doctor(command) => command.run(config, output),
            Command::Backup(command) => command.run(config, output),
            Command::Restore(command) => command.run(config, output),
        }
    }))
}

/// What a shell reads to complete this tool's words.
fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "a2a-webcap", &mut script);
    String::from_utf8_lossy(&script).into_owned()
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

fn asks_for_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let joined = |text: &str| matches!(text, "-ojson" | "-o=json" | "--output=json");
    let separate = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    let asked = texts.iter().any(|text| joined(text)) || texts.windows(2).any(separate);
    let said = texts.iter().any(|text| text.starts_with("-o") || text.starts_with("--output"));
    asked || (!said && std::env::var("A2ACLI_OUTPUT").is_ok_and(|format| format == "json"))
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
