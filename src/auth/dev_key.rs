//! The development key: how the owner of a machine gets into a server that was just started there.
//!
//! It comes from the environment if it is set there, else from a file in the state directory, which is
//! made at the first start. The file is for its owner's eyes only: mode 0600, and refused otherwise.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::CREDENTIAL_BYTES;
use super::api_key::{ApiKey, ApiKeyError};
use crate::fault::Fault;
use crate::private;

/// The environment variable that sets the key. The caller reads it, so that tests need not.
pub const DEV_KEY_VARIABLE: &str = "A2A_WEBCAP_DEV_KEY";
/// The file's name in the state directory.
pub const DEV_KEY_FILE: &str = "dev-key";

/// A development key and where it is from.
#[derive(Clone, Debug)]
pub struct DevKey {
    /// The key.
    pub key: ApiKey,
    /// Where it is from.
    pub origin: DevKeyOrigin,
}

/// Where a development key is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevKeyOrigin {
    /// [`DEV_KEY_VARIABLE`] is set.
    Environment,
    /// An earlier start made this file.
    Loaded(PathBuf),
    /// This start made this file: now, and only now, the key should be shown.
    Created(PathBuf),
}

impl DevKey {
    /// Takes the key from `env` (the value of [`DEV_KEY_VARIABLE`]), else from the file in `dir`, which
    /// is made if it is not there, and so is `dir` (mode 0700). Safe against a second process that does
    /// the same at the same time: both get the same key.
    pub fn load_or_create(dir: &Path, env: Option<String>) -> Result<Self, DevKeyError> {
        if let Some(text) = env {
            let key = ApiKey::parse(&text).map_err(DevKeyError::Environment)?;
            return Ok(Self { key, origin: DevKeyOrigin::Environment });
        }
        if let Some(loaded) = Self::load(dir)? {
            return Ok(loaded);
        }
        if let Some(created) = Self::create(dir)? {
            return Ok(created);
        }
        // Another process made the file meanwhile.
        Self::load(dir)?.ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::NotFound, "it was removed while it was being read");
            DevKeyError::Io { doing: "read", path: dir.join(DEV_KEY_FILE), error }
        })
    }

    /// Reads the file in `dir`, if it is there. What a client on the same machine does.
    pub fn load(dir: &Path) -> Result<Option<Self>, DevKeyError> {
        let path = dir.join(DEV_KEY_FILE);
        let failed = |error| DevKeyError::Io { doing: "read", path: path.clone(), error };
        // Looked at before it is opened: opening a pipe would wait for its writer.
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(DevKeyError::Broken { path, error: None }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let file = File::open(&path).map_err(failed)?;
        // Of the open file, not of the path: nobody can put another in its place in between.
        if let Some(mode) = private::shared_mode(&file.metadata().map_err(failed)?) {
            return Err(DevKeyError::Shared { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(CREDENTIAL_BYTES as u64 + 2).read_to_end(&mut bytes).map_err(failed)?;
        let text =
            String::from_utf8(bytes).map_err(|_| DevKeyError::Broken { path: path.clone(), error: None })?;
        match ApiKey::parse(text.trim_end_matches(['\r', '\n'])) {
            Ok(key) => Ok(Some(Self { key, origin: DevKeyOrigin::Loaded(path) })),
            Err(error) => Err(DevKeyError::Broken { path, error: Some(error) }),
        }
    }

    /// Makes the file, whole and durable before it has its name. `None` if it is there already.
    fn create(dir: &Path) -> Result<Option<Self>, DevKeyError> {
        let path = dir.join(DEV_KEY_FILE);
        let failed = |error| DevKeyError::Io { doing: "create", path: path.clone(), error };
        let key = ApiKey::generate().map_err(DevKeyError::NoRandomness)?;
        private::make_dir(dir).map_err(failed)?;
        let draft = Draft::write(dir, key.expose()).map_err(failed)?;
        // A link, unlike a rename, never replaces a key that another process has already shown.
        match fs::hard_link(&draft.0, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        drop(draft);
        private::sync_dir(dir).map_err(failed)?;
        Ok(Some(Self { key, origin: DevKeyOrigin::Created(path) }))
    }
}

/// A file that is removed again when this is dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(dir: &Path, text: &str) -> io::Result<Self> {
        // Named at random: another process may be doing the same, even one with the same number in
        // another container.
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = dir.join(format!("{DEV_KEY_FILE}.{:016x}.new", u64::from_ne_bytes(random)));
        let mut file = private::options().write(true).create_new(true).open(&path)?;
        let draft = Self(path);
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing can be done if it fails; the draft is its owner's alone and opens nothing.
        let _ = fs::remove_file(&self.0);
    }
}

/// Why there is no development key. Each says what to do.
#[derive(Debug)]
pub enum DevKeyError {
    /// The value of [`DEV_KEY_VARIABLE`] is no key.
    Environment(ApiKeyError),
    /// The file can be read or written by others.
    Shared {
        /// The file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// The file does not contain a key.
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with its text, if it is text.
        error: Option<ApiKeyError>,
    },
    /// The system refused.
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system has no randomness to give.
    NoRandomness(Fault),
}

impl fmt::Display for DevKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => write!(f, "{DEV_KEY_VARIABLE}: {error}"),
            Self::Shared { path, mode } => {
                let path = path.display();
                write!(f, "{path} holds a secret, but its mode {mode:04o} opens it to others: ")?;
                write!(f, "run `chmod 600 {path}`, or delete it to get a new key")
            }
            Self::Broken { path, error } => {
                let path = path.display();
                write!(f, "{path} does not contain a development key")?;
                if let Some(error) = error {
                    write!(f, " ({error})")?;
                }
                f.write_str(": delete it to get a new one")
            }
            Self::Io { doing, path, error } => {
                write!(f, "cannot {doing} the development key {}: {error}", path.display())
            }
            Self::NoRandomness(fault) => write!(f, "cannot make a development key: {fault:?}"),
        }
    }
}

impl std::error::Error for DevKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Environment(error) => Some(error),
            Self::Io { error, .. } => Some(error),
            Self::NoRandomness(fault) => Some(fault),
            Self::Shared { .. } | Self::Broken { .. } => None,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A directory of the test's own, removed afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let name = ApiKey::generate().unwrap().digest().to_hex();
            Self(std::env::temp_dir().join(format!("a2a-webcap-test-{name}")))
        }

        fn with_file(text: &str, mode: u32) -> Self {
            let scratch = Self::new();
            fs::create_dir(&scratch.0).unwrap();
            fs::write(scratch.file(), text).unwrap();
            fs::set_permissions(scratch.file(), fs::Permissions::from_mode(mode)).unwrap();
            scratch
        }

        fn file(&self) -> PathBuf {
            self.0.join(DEV_KEY_FILE)
        }

        fn load_or_create(&self) -> Result<DevKey, DevKeyError> {
            DevKey::load_or_create(&self.0, None)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_key_that_only_its_owner_can_read_and_the_next_loads_it() {
        let scratch = Scratch::new();
        let first = scratch.load_or_create().unwrap();
        assert_eq!(first.origin, DevKeyOrigin::Created(scratch.file()));
        assert_eq!((mode(&scratch.0), mode(&scratch.file())), (0o700, 0o600));
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "no draft stays behind");

        let second = scratch.load_or_create().unwrap();
        assert_eq!(second.origin, DevKeyOrigin::Loaded(scratch.file()));
        assert_eq!(second.key.expose(), first.key.expose());
    }

    #[test]
    fn the_environment_goes_first_and_leaves_the_directory_alone() {
        let scratch = Scratch::new();
        let chosen = "k".repeat(ApiKey::CHOSEN_CHARS);
        let key = DevKey::load_or_create(&scratch.0, Some(chosen.clone())).unwrap();
        assert_eq!((key.key.expose(), key.origin), (chosen.as_str(), DevKeyOrigin::Environment));
        assert!(!scratch.0.exists());
    }

    #[test]
    fn a_short_key_in_the_environment_is_refused_by_the_variables_name() {
        let error = DevKey::load_or_create(Path::new("/nowhere"), Some("short".into())).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("A2A_WEBCAP_DEV_KEY: ") && text.contains("at least 32"), "{text}");
        assert!(!text.contains("short:"), "{text}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let key = ApiKey::generate().unwrap();
        for shared in [0o640, 0o604, 0o644, 0o620] {
            let scratch = Scratch::with_file(key.expose(), shared);
            let text = scratch.load_or_create().unwrap_err().to_string();
            assert!(text.contains(&format!("run `chmod 600 {}`", scratch.file().display())), "{text}");
            assert!(!text.contains(key.expose()), "{text}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_left_alone() {
        let long = "x".repeat(1 << 20);
        for broken in ["", "\n", "too short", "a2a_mistyped", &long] {
            let scratch = Scratch::with_file(broken, 0o600);
            let text = scratch.load_or_create().unwrap_err().to_string();
            assert!(text.ends_with(": delete it to get a new one"), "{text}");
            assert_eq!(fs::read_to_string(scratch.file()).unwrap(), broken);
        }
    }

    #[test]
    fn a_directory_in_the_files_place_is_refused() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.file()).unwrap();
        assert!(matches!(scratch.load_or_create(), Err(DevKeyError::Broken { error: None, .. })));
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        let scratch = Scratch::new();
        let keys: Vec<DevKey> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| scratch.load_or_create().unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let created = keys.iter().filter(|key| matches!(key.origin, DevKeyOrigin::Created(_))).count();
        assert_eq!(created, 1);
        assert!(keys.iter().all(|key| key.key.expose() == keys[0].key.expose()));
    }
}
