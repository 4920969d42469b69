// node .ci/dependencies.mjs METADATA: looks at what `cargo metadata` says of every package in Cargo.lock.
//
// - Its licence lets eventcast be given away under MIT or Apache-2.0.
// - It comes from crates.io, or from this repository.
// - It does not ask for a newer compiler than eventcast promises to build with.
//
// What a package says of itself is believed; its files are not read.

import { readFileSync } from "node:fs";

const ALLOWED = new Set([
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
]);

/// Whether one of the choices of an SPDX expression is allowed in full. `MIT/Apache-2.0` is how old packages say OR.
function isAllowed(expression) {
    const tokens = expression.replaceAll("/", " OR ").match(/[()]|[^\s()]+/g) ?? [];
    let at = 0;
    const or = () => {
        let good = and();
        while (tokens[at] === "OR") { at += 1; good = and() || good; }
        return good;
    };
    const and = () => {
        let good = one();
        while (tokens[at] === "AND") { at += 1; good = one() && good; }
        return good;
    };
    const one = () => {
        let licence = tokens[at++];
        if (licence === "(") {
            const good = or();
            at += 1;
            return good;
        }
        if (tokens[at] === "WITH") { licence += ` WITH ${tokens[at + 1]}`; at += 2; }
        return ALLOWED.has(licence);
    };
    return or() && at === tokens.length;
}

const isNewer = (one, other) => {
    const [a, b] = [one, other].map((version) => version.split(".").map(Number));
    return a[0] !== b[0] ? a[0] > b[0] : a[1] > b[1];
};

const metadata = JSON.parse(readFileSync(process.argv[2]));
const promised = metadata.packages.find((one) => one.name === "eventcast").rust_version;
const faults = [];
for (const one of metadata.packages) {
    const fault = (text) => faults.push(`${one.name} ${one.version} ${text}`);
    if (!isAllowed(one.license ?? "")) fault(`has the licence ${one.license ?? "(none given)"}`);
    if (one.source && one.source !== "registry+https://github.com/rust-lang/crates.io-index") fault(`comes from ${one.source}`);
    if (one.rust_version && isNewer(one.rust_version, promised)) fault(`needs Rust ${one.rust_version}, eventcast promises ${promised}`);
}
console.log(`${metadata.packages.length} packages: licences, sources and compiler versions looked at`);
for (const text of faults) console.log(text);
process.exitCode = faults.length > 0 ? 1 : 0;
