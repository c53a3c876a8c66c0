//! Files and directories that only their owner may look into: keys, and everybody's tasks.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
#[cfg(feature = "cli")]
use std::io::Read;
use std::path::{Path, PathBuf};

/// Makes a directory, with those above it, that only its owner may look into, and their names durable. One that is
/// there stays as it is.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let missing: Vec<_> = dir.ancestors().take_while(|above| !above.is_dir()).map(PathBuf::from).collect();
    builder.create(dir)?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(sync_dir)
}

/// How to open a file which, if it is made by that, only its owner may read and write.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The mode bits of a file that others may do something with; none if it is its owner's alone. Where there are no
/// mode bits, the user's own directory is private by default.
pub(crate) fn shared_mode(metadata: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    #[cfg(not(unix))]
    let mode = {
        let _ = metadata;
        0
    };
    (mode & 0o077 != 0).then_some(mode)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// All that there is to read, if that is at most so many bytes.
#[cfg(feature = "cli")]
pub(crate) fn read_at_most(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("longer than {most} bytes")));
    }
    Ok(bytes)
}
