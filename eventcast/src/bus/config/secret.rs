//! The secrets of a group as users set them. Nothing here ever shows one.

use std::{fmt, fs, io, path::Path};

use zeroize::Zeroizing;

use crate::proto::{SealKey, SealKeyError};

/// Passphrases shorter than this cause a warning, in bytes: an exhaustive search for them is
/// feasible.
const SHORT: usize = 12;

/// A longer file is no passphrase file.
const LONGEST_FILE: u64 = 64 * 1024;

/// A passphrase, or a ready key: what the keys of a sealed group are made from, the same on all its
/// buses.
///
/// A text is a passphrase. It is taken as it is, so that a blank more or another way to write an
/// accent makes another one. A ready key is for those who have a place to keep keys in: at least 32
/// random bytes, with which a bus starts at once, because nothing has to make it hard to guess.
///
/// Neither shows in `Debug`, in an error or in a log, and the memory is wiped when the last copy is
/// dropped.
///
/// ```
/// use eventcast::Secret;
///
/// let passphrase: Secret = "correct horse battery staple".into();
/// assert_eq!(format!("{passphrase:?}"), "Secret(a passphrase)");
/// let key = Secret::ready_key([7; 32]);
/// assert_eq!(format!("{key:?}"), "Secret(a ready key)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Passphrase(Zeroizing<String>),
    ReadyKey(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// A passphrase, of at least one byte. A shorter one is refused when the bus is built; one of
    /// less than 12 bytes is warned about.
    ///
    /// ```
    /// let secret = eventcast::Secret::passphrase("correct horse battery staple");
    /// ```
    #[must_use]
    pub fn passphrase(text: impl Into<String>) -> Self {
        Self(Kind::Passphrase(Zeroizing::new(text.into())))
    }

    /// A ready key: at least 32 random bytes. A shorter one is refused when the bus is built.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let secret = eventcast::Secret::ready_key(std::fs::read("/run/secrets/eventcast.key")?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ready_key(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Kind::ReadyKey(Zeroizing::new(bytes.into())))
    }

    /// Reads a passphrase from a file that nobody else may read. A line break at its end is not
    /// part of it.
    ///
    /// # Errors
    ///
    /// What must be otherwise, to follow "must be".
    pub(crate) fn from_file(path: &Path) -> Result<Self, String> {
        let refuse = |error: io::Error| format!("a file that this program can read: {error}");
        let check = |facts: &fs::Metadata| {
            if facts.is_file() && facts.len() <= LONGEST_FILE {
                Ok(())
            } else {
                Err("a file with a passphrase in it, and nothing else".to_owned())
            }
        };
        // Checked before opening, since opening a pipe would block until it has a writer.
        check(&fs::metadata(path).map_err(refuse)?)?;
        let mut file = fs::File::open(path).map_err(refuse)?;
        // Checked again: the file may have been replaced in between.
        let facts = file.metadata().map_err(refuse)?;
        check(&facts)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = facts.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(format!(
                    "a file that its owner alone can read, and its mode is {mode:o}: `chmod 600` it"
                ));
            }
        }
        let mut text = Zeroizing::new(String::with_capacity(facts.len() as usize + 1));
        io::Read::read_to_string(&mut file, &mut text).map_err(refuse)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let secret = Self::passphrase(line.strip_suffix('\r').unwrap_or(line));
        if !secret.is_usable() {
            return Err("a file with a passphrase in it, and this one is empty".to_owned());
        }
        Ok(secret)
    }

    /// Whether a key can be derived from it.
    pub(crate) fn is_usable(&self) -> bool {
        self.check().is_ok()
    }

    /// Checks that a key can be derived from it.
    pub(crate) fn check(&self) -> Result<(), SealKeyError> {
        match &self.0 {
            Kind::Passphrase(text) if text.is_empty() => Err(SealKeyError::EmptyPassphrase),
            // A ready key takes no time.
            Kind::ReadyKey(bytes) => SealKey::from_ready_key(bytes, b"").map(drop),
            Kind::Passphrase(_) => Ok(()),
        }
    }

    /// Whether it is a passphrase that is short enough to search for.
    pub(crate) fn is_short(&self) -> bool {
        matches!(&self.0, Kind::Passphrase(text) if text.len() < SHORT)
    }

    /// Whether it is a passphrase with blanks or line breaks at an end. They are part of it, and
    /// rarely intended.
    pub(crate) fn has_stray_blanks(&self) -> bool {
        let text = self.as_passphrase();
        text.is_some_and(|text| text.trim() != text)
    }

    /// Whether it can be typed as a line.
    pub(crate) fn is_line(&self) -> bool {
        let text = self.as_passphrase();
        text.is_some_and(|text| !text.is_empty() && !text.contains(char::is_control))
    }

    /// The passphrase, unless it is a ready key.
    pub(crate) fn as_passphrase(&self) -> Option<&str> {
        match &self.0 {
            Kind::Passphrase(text) => Some(text),
            Kind::ReadyKey(_) => None,
        }
    }

    /// The bytes of the passphrase or key.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Passphrase(text) => text.as_bytes(),
            Kind::ReadyKey(bytes) => bytes,
        }
    }

    /// Derives the key. Takes hundreds of milliseconds for a passphrase.
    pub(crate) fn to_key(&self, salt: &[u8]) -> Result<SealKey, SealKeyError> {
        match &self.0 {
            Kind::Passphrase(text) => SealKey::from_passphrase(text, salt),
            Kind::ReadyKey(bytes) => SealKey::from_ready_key(bytes, salt),
        }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::passphrase(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::passphrase(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Passphrase(_) => "Secret(a passphrase)",
            Kind::ReadyKey(_) => "Secret(a ready key)",
        })
    }
}

/// The secrets of a sealed bus: the one that it seals with, and all that it opens with. See
/// [`Bus::set_keys`](crate::Bus::set_keys) for how a running group changes them.
///
/// ```
/// use eventcast::Keys;
///
/// let keys = Keys::new("the passphrase from now on").and_receive("the one before");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub(crate) send: Secret,
    pub(crate) receive: Vec<Secret>,
}

impl Keys {
    /// Seals with this secret, and opens with it.
    ///
    /// ```
    /// let keys = eventcast::Keys::new("correct horse battery staple");
    /// ```
    #[must_use]
    pub fn new(secret: impl Into<Secret>) -> Self {
        Self {
            send: secret.into(),
            receive: Vec::new(),
        }
    }

    /// Opens with this secret, too. It may be called several times: each call adds one.
    ///
    /// ```
    /// let keys = eventcast::Keys::new("the new passphrase").and_receive("the old passphrase");
    /// ```
    #[must_use]
    pub fn and_receive(mut self, secret: impl Into<Secret>) -> Self {
        self.receive.push(secret.into());
        self
    }

    /// All of them, the one to send with first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.send).chain(&self.receive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_and_short_secrets_are_detected() {
        for (secret, usable, short) in [
            (Secret::from(""), false, true),
            (Secret::from("x"), true, true),
            (Secret::from("twelve bytes"), true, false),
            (Secret::from("zwölf Zeichen".to_owned()), true, false),
            (Secret::ready_key([1; 31]), false, false),
            (Secret::ready_key([1; 32]), true, false),
        ] {
            assert_eq!(secret.is_usable(), usable, "{:?}", secret.bytes());
            assert_eq!(secret.is_short(), short, "{:?}", secret.bytes());
            assert_eq!(secret.to_key(b"salt").is_ok(), usable);
        }
    }

    #[test]
    fn blanks_at_an_end_are_detected() {
        for (secret, stray) in [
            (Secret::from("alpha bravo charlie"), false),
            (Secret::from("alpha bravo charlie\n"), true),
            (Secret::from("alpha bravo charlie\r\n"), true),
            (Secret::from("alpha bravo charlie "), true),
            (Secret::from("\talpha bravo charlie"), true),
            (Secret::from("alpha bravo charlie\u{a0}"), true),
            (
                Secret::ready_key(*b"a key of 32 bytes ends in blank "),
                false,
            ),
        ] {
            assert_eq!(secret.has_stray_blanks(), stray, "{:?}", secret.bytes());
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = Keys::new("alpha-bravo").and_receive(Secret::ready_key(*b"charlie-delta"));
        let shown = format!("{keys:?} {keys:#?}");
        for part in ["alpha", "charlie", "97, 108"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_if_only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("eventcast-secret-{}", std::process::id()));
        let write = |content: &str, mode: u32| {
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secret::from_file(&path)
        };
        for (content, passphrase) in [
            ("alpha bravo\n", "alpha bravo"),
            ("alpha bravo\r\n", "alpha bravo"),
            (" alpha\nbravo\n\n", " alpha\nbravo\n"),
        ] {
            let read = write(content, 0o600).unwrap();
            assert_eq!(read.as_passphrase(), Some(passphrase));
        }
        assert!(write("alpha", 0o400).is_ok());
        for mode in [0o640, 0o604, 0o660] {
            let refused = write("alpha", mode).unwrap_err();
            assert!(refused.contains("chmod 600"), "{refused}");
            assert!(refused.contains(&format!("{mode:o}")), "{refused}");
        }
        let empty = write("\n", 0o600).unwrap_err();
        assert!(empty.contains("empty"), "{empty}");
        fs::remove_file(&path).unwrap();
        let missing = Secret::from_file(&path).unwrap_err();
        assert!(missing.contains("can read"), "{missing}");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let pipe = Secret::from_file(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert!(pipe.contains("nothing else"), "{pipe}");
        let folder = Secret::from_file(&std::env::temp_dir()).unwrap_err();
        assert!(folder.contains("nothing else"), "{folder}");
    }
}
