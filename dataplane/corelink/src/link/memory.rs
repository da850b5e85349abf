//! Memory files as words.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::word::{View, WORD_BYTES, Word};

/// A memory file mapped for reading and writing.
#[derive(Debug)]
pub(super) struct WritableMemory(MmapRaw);

/// A memory file mapped for reading only.
#[derive(Debug)]
pub(super) struct ReadOnlyMemory(MmapRaw);

/// Who may map a new memory file for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Only its maker, who already has.
    Maker,
    /// Whoever gets the file.
    Anybody,
}

/// Makes a zeroed memory file of `words` words and maps it. Its size is fixed for ever: a file that
/// shrinks under a mapping is a SIGBUS.
pub(super) fn make(
    name: &str,
    words: usize,
    writers: Writers,
) -> io::Result<(OwnedFd, WritableMemory)> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let file = File::from(fd);
    file.set_len((words * WORD_BYTES) as u64)?;
    let memory = WritableMemory(MmapOptions::new().len(words * WORD_BYTES).map_raw(&file)?);
    let mut seals = size_seals() | SealFlag::F_SEAL_SEAL;
    if writers == Writers::Maker {
        // Mappings that exist stay writable; writing in any other way is refused from now on.
        seals |= SealFlag::F_SEAL_FUTURE_WRITE;
    }
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok((file.into(), memory))
}

/// Maps a memory file that another process made, which must have at least `words` words.
pub(super) fn open_writable(fd: OwnedFd, words: usize) -> io::Result<WritableMemory> {
    let (file, bytes) = examine(fd, words)?;
    Ok(WritableMemory(MmapOptions::new().len(bytes).map_raw(&file)?))
}

/// Maps a memory file that another process made, for reading; it must have at least `words` words.
pub(super) fn open_read_only(fd: OwnedFd, words: usize) -> io::Result<ReadOnlyMemory> {
    let (file, bytes) = examine(fd, words)?;
    Ok(ReadOnlyMemory(MmapOptions::new().len(bytes).map_raw_read_only(&file)?))
}

/// The file's size in bytes, if it is a sealed memory file of some whole words.
fn examine(fd: OwnedFd, words_min: usize) -> io::Result<(File, usize)> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let seals = fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS)?;
    if !SealFlag::from_bits_retain(seals).contains(size_seals()) {
        return refused("memory file can be resized");
    }
    let file = File::from(fd);
    let bytes = file.metadata()?.len();
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= words_min * WORD_BYTES && bytes <= BYTES_MAX => Ok((file, bytes)),
        _ => refused("memory file has an impossible size"),
    }
}

fn size_seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
}

impl WritableMemory {
    /// All words.
    pub(super) fn words(&self) -> &[Word] {
        let words = self.0.len() / WORD_BYTES;
        // SAFETY: the mapping starts on a page, has that many whole words, cannot shrink (sealed)
        // and lives as long as `self`. `Word` is an atomic, so that others may write it too, and
        // every bit pattern is one.
        unsafe { std::slice::from_raw_parts(self.0.as_mut_ptr().cast::<Word>(), words) }
    }
}

impl ReadOnlyMemory {
    /// All words, to look at.
    pub(super) fn view(&self) -> View<'_> {
        let words = self.0.len() / WORD_BYTES;
        // SAFETY: as in `WritableMemory::words`; the view lets nobody store.
        View::of(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<Word>(), words) })
    }
}

/// No file of ours is larger; a larger one from elsewhere is not mapped.
const BYTES_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn page_can_be_written_by_its_maker_only() {
        let (fd, memory) = make("page", 512, Writers::Maker).unwrap();
        let copy = || fd.try_clone().unwrap();
        let reader = open_read_only(copy(), 512).unwrap();
        memory.words()[511].store(7);
        assert_eq!((reader.view().load(511), reader.view().iter().count()), (7, 512));
        assert!(open_writable(copy(), 512).is_err());
        assert!(File::from(copy()).write_all(b"x").is_err());
        assert!(File::from(copy()).set_len(0).is_err());
    }

    #[test]
    fn slot_can_be_written_by_both() {
        let (fd, memory) = make("slot", 4, Writers::Anybody).unwrap();
        let other = open_writable(fd.try_clone().unwrap(), 4).unwrap();
        other.words()[3].store(5);
        assert_eq!(memory.words()[3].load(), 5);
        assert!(File::from(fd).set_len(8).is_err());
    }

    #[test]
    fn file_that_could_be_resized_or_is_too_short_is_not_mapped() {
        let (fd, _) = make("short", 4, Writers::Anybody).unwrap();
        assert!(open_read_only(fd, 5).is_err());
        let fd = memfd_create("resizable", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        File::from(fd.try_clone().unwrap()).set_len(4096).unwrap();
        assert!(open_read_only(fd, 1).is_err());
        assert!(open_read_only(File::open("/proc/self/exe").unwrap().into(), 1).is_err());
    }
}
