//! The derive macro of eventcast.
