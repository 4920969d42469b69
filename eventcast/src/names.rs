//! What a misspelt name was probably meant to be.

/// The candidate that is nearest to `written`, when it is near enough to be meant. Case, and
/// whether words are joined by `_` or `-`, count for nothing.
pub(crate) fn nearest(
    written: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    /// No name is longer by far; comparing takes time in proportion to both lengths.
    const LONGEST: usize = 64;
    if written.len() > LONGEST {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let written = plain(written);
    // One slip, and one more for every four letters.
    let enough = 1 + written.len() / 4;
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &plain(name)), name))
        .filter(|&(distance, _)| distance <= enough)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}
