//! Why a program cannot be an agent.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a program cannot be an agent. Each says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// The command line has no word in it, or a quote that is not closed.
    CommandLine,
    /// There is no such program.
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// The file is there and cannot be run.
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The system did not start it.
    Spawn {
        /// The program's name.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file with the agent's card cannot be used.
    CardFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The program did not introduce itself as one that speaks the line protocol.
    Introduction {
        /// The program's name.
        program: String,
        /// What it did instead.
        reason: String,
    },
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str(
                "the agent's command line has no program in it, or a quote that is not closed: write it as in a \
                 shell, such as 'exec:./my-script.sh \"one argument\"'",
            ),
            Self::NotFound { program } if program.contains('/') => {
                write!(f, "the agent's program {program} is not there: give its path from this directory")
            }
            Self::NotFound { program } => write!(
                f,
                "the agent's program {program:?} is in no directory of PATH: give its path, such as ./{program}"
            ),
            Self::NotExecutable { path } => write!(
                f,
                "the agent's program {0} cannot be run: make it so with `chmod +x {0}`, or name its interpreter \
                 before it",
                path.display()
            ),
            Self::Spawn { program, error } => {
                write!(f, "the agent's program {program:?} cannot be started: {error}")
            }
            Self::CardFile { path, reason } => {
                write!(f, "the agent's card {} cannot be used: {reason}", path.display())
            }
            Self::Introduction { program, reason } => {
                write!(f, "the agent's program {program:?} did not introduce itself: {reason}")
            }
        }
    }
}

impl Error for ProcessError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Spawn { error, .. } => Some(error),
            _ => None,
        }
    }
}
