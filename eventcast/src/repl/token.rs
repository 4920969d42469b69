//! What a client of a guarded console has to say first.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The token of a console. What is kept of it is an HMAC, so that comparing takes the same time whatever is said.
pub(super) struct Token(Hmac<Sha256>);

impl Token {
    pub(super) fn new(token: &[u8]) -> Self {
        let empty =
            Hmac::new_from_slice(b"eventcast console").expect("HMAC takes keys of any length");
        Self(Mac::chain_update(empty, token))
    }

    /// Whether this is it.
    pub(super) fn is(&self, said: &str) -> bool {
        let said = Self::new(said.as_bytes()).0.finalize();
        self.0.clone().verify(&said.into_bytes()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_alone_is_it() {
        let token = Token::new("alpha bravo".as_bytes());
        assert!(token.is("alpha bravo"));
        for said in ["", "alpha", "alpha bravo ", "alpha bravO"] {
            assert!(!token.is(said), "{said}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
