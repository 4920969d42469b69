//! The cipher of old peers (WIRE.md section 5): AES-128-CBC under a key and an initialisation
//! vector that come from the passphrase alone.
//!
//! It protects against no sender: equal beginnings show, and anything can be forged, changed or
//! repeated. So it exists for those peers alone, and only where a bus turns it on. Responsible for
//! ciphertext, and for its few bytes of metadata; not for what a bus accepts and refuses.

use std::{fmt, sync::Arc};

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, block_padding::Pkcs7},
};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::{DropCause, SealKeyError};

type Encryptor<'a> = cbc::Encryptor<&'a Aes128>;
type Decryptor<'a> = cbc::Decryptor<&'a Aes128>;

const BLOCK: usize = 16;

/// The key of the classic cipher, cheap to clone.
#[derive(Clone)]
pub struct ClassicKey(Arc<Inner>);

struct Inner {
    aes: Aes128,
    iv: Zeroizing<[u8; BLOCK]>,
}

impl ClassicKey {
    /// The key that a passphrase gives: OpenSSL's `EVP_BytesToKey` with MD5, no salt and one round.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::EmptyPassphrase`].
    pub fn from_passphrase(passphrase: &str) -> Result<Self, SealKeyError> {
        if passphrase.is_empty() {
            return Err(SealKeyError::EmptyPassphrase);
        }
        let digest = |before: &[u8]| {
            let digest = Md5::new().chain_update(before).chain_update(passphrase);
            Zeroizing::new(<[u8; BLOCK]>::from(digest.finalize()))
        };
        let key = digest(b"");
        let iv = digest(&*key);
        let aes = Aes128::new_from_slice(&*key).expect("AES-128 takes 16 bytes");
        Ok(Self(Arc::new(Inner { aes, iv })))
    }

    /// Appends a message as ciphertext.
    pub(super) fn encrypt(&self, message: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(message);
        out.resize(start + encrypted_len(message.len()), 0);
        let encrypted = Encryptor::inner_iv_init(&self.0.aes, &(*self.0.iv).into())
            .encrypt_padded::<Pkcs7>(&mut out[start..], message.len());
        debug_assert!(encrypted.is_ok(), "there is room for the padding");
    }

    /// Replaces the ciphertext in `message` by its plaintext. Only the padding shows that it was
    /// encrypted with this key.
    pub(super) fn decrypt(&self, text: &[u8], message: &mut Vec<u8>) -> Result<(), DropCause> {
        message.clear();
        message.extend_from_slice(text);
        let len = Decryptor::inner_iv_init(&self.0.aes, &(*self.0.iv).into())
            .decrypt_padded::<Pkcs7>(message)
            .map_err(|_| DropCause::Undecryptable)?
            .len();
        message.truncate(len);
        Ok(())
    }
}

impl fmt::Debug for ClassicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClassicKey")
    }
}

/// The length of the ciphertext of so many bytes.
pub(super) const fn encrypted_len(message: usize) -> usize {
    (message / BLOCK + 1) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_nothing_else_does() {
        let key = ClassicKey::from_passphrase("tango-kilo-42").unwrap();
        let (mut text, mut back) = (Vec::new(), vec![1, 2, 3]);
        for len in 0..70_u8 {
            let message: Vec<u8> = (0..len).collect();
            text.clear();
            key.encrypt(&message, &mut text);
            assert_eq!(text.len(), encrypted_len(len.into()));
            assert_eq!(key.decrypt(&text, &mut back), Ok(()));
            assert_eq!(back, message);
            for cut in 1..16.min(text.len()) {
                let cut = &text[..text.len() - cut];
                assert_eq!(key.decrypt(cut, &mut back), Err(DropCause::Undecryptable));
            }
        }
        assert_eq!(key.decrypt(b"", &mut back), Err(DropCause::Undecryptable));
        // Only the padding reveals another passphrase, so one datagram in 256 or so passes.
        let other = ClassicKey::from_passphrase("another").unwrap();
        assert_eq!(
            other.decrypt(&text, &mut back),
            Err(DropCause::Undecryptable)
        );
    }

    #[test]
    fn nothing_shows_and_an_empty_passphrase_is_none() {
        let key = ClassicKey::from_passphrase("k").unwrap();
        assert_eq!(format!("{key:?}"), "ClassicKey");
        let empty = ClassicKey::from_passphrase("");
        assert_eq!(empty.unwrap_err(), SealKeyError::EmptyPassphrase);
    }
}
