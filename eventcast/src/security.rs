//! What a passphrase protects against, what it does not, and what to do about that. A page to read;
//! there is no code here.
//!
//! Without a passphrase a bus speaks in the clear: whoever can send to the group can be anybody,
//! and whoever can listen hears everything. That is good for one machine, or for a network that
//! nobody else is on. With
//!
//! ```
//! # fn build() -> eventcast::Result<eventcast::Bus> {
//! # use eventcast::Bus;
//! let bus = Bus::builder().port(9000).passphrase("correct horse battery staple").build()?;
//! # Ok(bus)
//! # }
//! ```
//!
//! and nothing else, every datagram of the bus is sealed, those by which buses find each other and
//! repair what was lost among them, and the bus takes nothing that is not.
//!
//! # What somebody on the network can do
//!
//! Tests that begin with `sealed::` or `console_guarded::` are on real sockets, in the tests of the
//! project (`tests/tests/bus/`); the others stand beside the protocol.
//!
//! The attacker here sees every datagram, keeps all of them, and can hold them back, change them,
//! and send what it likes from any address. It does not have the passphrase.
//!
//! | it tries to | what comes of it | shown by |
//! | --- | --- | --- |
//! | read events, or their keys | nothing: AES-128-CBC, with an IV from the system's random source for each datagram | `sealed::nothing_shows_on_the_wire` |
//! | see that two events are alike | nothing: sealed twice, they differ everywhere | `sealed::nothing_repeats_on_the_wire` |
//! | send an event, or change one | it is dropped: HMAC-SHA-256 over all of it, looked at before anything else | `no_bit_and_no_length_of_a_datagram_can_be_changed` |
//! | learn something from how the bus reacts | nothing: whatever is wrong with the seal, it sends nothing, keeps nothing, and says the same words | `sealed::altered_datagrams_get_no_answer` |
//! | show a datagram a second time | it is dropped: each has a number that counts once; and reported, where it comes later than a network duplicates (`a_duplicate_later_than_a_network_makes_it_is_reported`) | `nothing_that_was_recorded_has_any_effect_again`, `sealed::killed_senders_are_heard_at_once_after_a_restart` |
//! | take it to another group, or to another bus | it is dropped: the seal names both | `the_bad_vectors_are_refused_for_their_cause`, `what_is_sealed_is_opened_by_whom_it_is_for` |
//! | use the bus against others | little: what does not open is never answered, and of a request that it holds back and moves to another address the answer goes there, once, and opens for nobody else | `sealed::altered_datagrams_get_no_answer`, `a_request_that_was_held_back_and_moved_is_answered_once_and_for_its_sender_alone` |
//! | fill its memory | the tables of senders and windows have a limit, at which nobody is unheard and nothing is taken a second time | `incarnations_are_bounded`, `thousands_that_come_and_go_make_no_newcomer_unheard` |
//! | send in the clear what a bus would obey | it is dropped unread | `sealed::clear_requests_are_not_obeyed` |
//!
//! # What it can do all the same
//!
//! - **Hold back and drop.** Events that are lost for good are reported, with their numbers; that
//!   it was done on purpose does not show. The simulated worlds have such an attacker
//!   (`promises_hold_in_every_world`).
//! - **Watch.** In the clear remain: that it is eventcast, which key is used (by a number), eight
//!   bytes that stand for the sender's id, when it was started, how many datagrams it sent, when,
//!   and how long they are, rounded up to 16 bytes (`sealed::nothing_shows_on_the_wire`). Who must
//!   not be seen to speak needs a network that hides it.
//! - **Flood.** Every datagram that does not open costs this machine about as much as one that
//!   does: of what stands around the seal, at most 32 elements are looked at
//!   (`more_elements_than_there_are_known_ones_are_refused_before_they_are_compared`). A firewall
//!   in front of the port, or a group on a network of its own, is what helps.
//! - **Replay to a bus that has just started,** within narrow bounds: such a bus cannot know what
//!   was sent before. In its first minute it refuses what was sent more than a second before its
//!   start, and in any case what is older than `clock_tolerance` (30 s) by its clock. So it can be
//!   shown what it would have heard itself, had it started a second earlier, and of a sender whose
//!   clock is ahead what that sent by so much longer before. After a minute nothing is left of that
//!   (`what_can_be_shown_again_to_a_receiver_that_was_restarted`), unless `clock_tolerance` is
//!   longer than a minute: then it can be shown what senders that it has never heard said within
//!   that time (`a_young_bus_takes_nothing_from_before_its_start`). The same rule makes a bus that
//!   has just started deaf, for as long, to one whose clock is seconds behind.
//! - **Set clocks.** Whoever can move a bus's clock by more than `clock_tolerance` makes it deaf,
//!   and it says so (`unopened_datagrams_are_reported_as_one_and_a_wrong_clock_with_its_offset`).
//!   Whoever can set it back to a time of recordings can show it those of senders that it has not
//!   heard (`a_clock_that_is_set_back_makes_recordings_fresh_but_of_whom_it_knows`): protect what
//!   sets clocks. A bus with a configured `id` whose clock shows the very millisecond of an earlier
//!   start again takes that one's numbers: what it says until it is beyond them is dropped as a
//!   duplicate, sealed or not (`a_second_start_with_the_same_incarnation_delivers_nothing_twice`).
//!
//! # What a stranger can have a bus say
//!
//! On a bus without a passphrase anybody is a member. Its notices and its log stay readable all the
//! same:
//!
//! - **Choose texts.** An id, a host name, an event key or a value may hold line breaks, escape
//!   sequences, or characters that turn the direction of text. Whatever displays them writes
//!   `\u{…}` instead, on one line: notices, origins, peers, errors, `eventcast::log` and the
//!   console (`notices::hostile_texts_stay_in_their_lines`). What a program prints of an event by
//!   itself can pass through [`printable`](crate::printable).
//! - **Cause notices.** Of one thing (one field that does not fit one listener, one address that
//!   cannot be sent to) a notice comes at once, and one in ten seconds after that with the exact
//!   number of the others. One address causes at most 16 different ones in ten seconds, and a sum
//!   of the rest, whatever ids it invents (`notices::invented_senders`); all addresses together at
//!   most 1,024 (`the_table_is_bounded_for_ever_new_addresses`).
//!
//! # What a stranger can do at a console
//!
//! A console that other machines can reach asks for a token first, and says nothing else before.
//!
//! - **Guess.** After the first few, one token in 8 s is looked at for each IP address, over
//!   however many connections they come (`console_guarded::many_connections_guess_no_faster`).
//!   Somebody with many addresses has that many guesses: take four words or more. Where somebody
//!   guesses from the same address, one who knows the token waits for up to 24 s, or has to come
//!   again.
//! - **Take all places.** Those that have not said the token give way at once to who comes from
//!   another address, from the address that has most of them
//!   (`console_guarded::strangers_do_not_shut_out_clients_with_the_token`,
//!   `console_guarded::clients_without_a_token_give_way`).
//!
//! # What a member can do
//!
//! All members have the same key. A member can read everything, and it can speak as any other: the
//! seal shows that somebody in the group said it, not who (`what_a_holder_of_the_key_may_not_seal`
//! shows what is checked all the same). Where that matters, sign the events themselves. Who leaves
//! the group keeps what it knows: change the passphrase ([`Bus::set_keys`](crate::Bus::set_keys),
//! without a stop; the example `change_key` shows it, `sealed::keys_change_without_a_lost_event`
//! proves it). What was recorded before can be read with the old passphrase by whoever learns it
//! later: there is no forward secrecy.
//!
//! # What a stranger costs a bus in the clear
//!
//! Without a passphrase anybody can claim anything. These bounds hold all the same, and a sealed
//! bus has them towards its members. Reports of what somebody else can cause are summed up: the
//! first comes at once, the sum of what follows within ten seconds when these are over, or when the
//! bus stops.
//!
//! | a stranger sends | what it costs | shown by |
//! | --- | --- | --- |
//! | ever higher numbers, as those that it has sent | what is missed at the same time is one gap; a stream has at most 32,768, and what they and the messages behind them take in memory counts as held | `numbers_that_are_claimed_one_by_one_are_few_gaps_and_lost_in_sums`, `a_stream_has_no_more_gaps_than_so` |
//! | the highest numbers that there are | sums of claimed numbers stop at the highest one | `sums_of_claims_do_not_overflow` |
//! | numbers that never come | each is reported lost once, in sums by stream, and of at most 64 streams of an IP address one by one | `losses_of_many_streams_of_one_address_are_reported_together` |
//! | messages that never become whole | one report in ten seconds for each reason and IP address | `incomplete_messages_and_their_numbers_are_reported_in_sums` |
//! | hellos and goodbyes in turn | 8 reports in ten seconds for each id, 256 for each IP address; then how it stands | `reports_of_a_flapping_peer_are_few_and_end_with_its_state` |
//! | requests under the address of somebody else | an IP address gets three times what came from it and 256 KiB a minute until the address has echoed a token that was sent to it; all such addresses together 1 MiB a second, or as much as is sent anew | `an_address_that_was_forged_gets_little_more_than_what_came_from_it`, `all_forged_addresses_together_get_no_more_than_is_sent_anew`, `requests_to_an_address_that_was_forged_are_bounded_too` |
//! | requests without end, so that others are not repaired | requesters are served in turn, and what one asks for too much is refused to that one | `one_that_is_flooded_beside_is_repaired_soon`, `a_flood_of_requests_is_bounded_and_refused_to_its_requester_alone` |
//! | requests that slow a sender down or hold up its stop | each costs a bounded look; what was never sent, or has gone, counts as nothing | `requests_for_all_there_is_cost_little`, `requests_for_what_is_not_there_neither_slow_the_pace_nor_delay_a_stop` |
//! | a number far ahead in another's name | it is forgotten when that sender says hello, a second or two later | `a_made_up_number_far_ahead_makes_no_duplicates_of_the_senders_own`, `a_sender_that_was_paused_takes_its_numbers_back` |
//! | hellos in another's name | the address that is asked moves only when that sender has not been heard for 2 s, and both are asked until one answers; until then they are counted, and reported as `posed` | `hellos_from_elsewhere_do_not_take_the_place_of_their_sender`, `hello_and_bye_from_elsewhere_are_counted_and_reported` |
//! | that a message cannot be had any more, in another's name | dropped: that counts from where its sender is heard, for what was asked for there | `what_says_so_from_elsewhere_ends_no_message`, `what_was_not_asked_for_is_not_ended_by_its_sender_either` |
//! | requests for what has gone, under the address of somebody else | one answer for each, shorter than the request and within the bounds of all others | `requests_for_what_is_gone_are_answered_within_the_bounds` |
//! | hellos of made-up senders, so that a bus which has just started is not told what it is owed | of the 256 that are kept one of the IP address with most goes, and hellos name them in turn | `many_of_one_ip_address_push_out_none_of_others`, `a_throng_takes_no_newcomers_place` |
//! | hellos of thousands of made-up senders | a newcomer takes the place of one of whoever has most; one that finds no room is reported: order and repair are off for it | `one_who_fills_the_table_of_streams_gives_way_to_others`, `a_sender_without_a_stream_is_delivered_and_reported_as_unfollowed`, `nothing_is_delivered_again_of_a_sender_that_had_to_make_room` |
//! | anything from port 0, or from an address that is nobody's | dropped | `nothing_is_sent_to_where_nobody_is` |
//!
//! What is left to a stranger, on a bus in the clear:
//!
//! - It reads everything, and says anything in anybody's name. An event with the very number that
//!   its sender uses next takes that one's place, and the true one is dropped as a double.
//! - Where the network lets it forge the sender's address too, its hellos are the sender's, and it
//!   can end what a receiver has asked for by saying that it is gone; each number is then told as
//!   lost.
//! - Whoever is heard first in a sender's name, by a bus that has just started, is that sender
//!   until it is silent for 2 s; requests that it does not answer go to the other address as well.
//! - Under thousands of forged IP addresses it fills the table of senders for a minute, which is
//!   reported, and uses up what is sent to addresses without a token: the first repair of a bus
//!   comes later, and so do all of a peer that knows no tokens.
//! - At an address of its own it can have 4 MiB a second sent to itself, slow chunked messages down
//!   to their floor of 4 MB a second, and hold up a stop for `message_ttl`.
//!
//! # The passphrase
//!
//! Whoever records one datagram can try passphrases on it at home. Each try costs 600,000 rounds of
//! PBKDF2-HMAC-SHA-256 (RFC 8018), which is what OWASP recommends; a passphrase of four or more
//! words chosen by dice is out of reach, a name with a digit is not. Below twelve bytes a bus warns
//! (`sealed::short_passphrases_are_warned_about`). The salt is made of group and port unless
//! `key_salt` says otherwise, so that one passphrase gives other keys in another group
//! (`passphrases_and_ready_keys_give_the_roots`). Where keys are kept elsewhere,
//! [`Secret::ready_key`](crate::Secret::ready_key) takes 32 random bytes as they are.
//!
//! It comes from the builder, from the variable `EVENTCAST_PASSPHRASE`, or from a file that its
//! owner alone can read (`passphrase_file`). It shows nowhere: not in `Debug`, not in an error, not
//! in a log (`secrets_never_show` in the tests of the options), and not in the console
//! (`console_guarded::secrets_never_show`). A variable can be read by other programs of the same
//! user; a file is better. In memory it is there as long as a bus is that has it, and the keys
//! derived from it, with a digest by which they are found again, until the process ends: who can
//! read the memory of a program has its keys.
//!
//! # What it costs
//!
//! The rounds take a tenth of a second or two once in a process for each passphrase and salt, on a
//! thread of their own: no async thread waits (`sealed::deriving_a_key_blocks_no_runtime_thread`).
//! **In a program that is built without optimisation they take seconds.** That is mended by two
//! lines in the program's `Cargo.toml`, which build the dependencies with optimisation and the
//! program itself without:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! Of these `sha2` and `eventcast` itself count: where the others shall stay as they are,
//! `sha2.opt-level = 3` and `eventcast.opt-level = 3` under `[profile.dev.package]` are enough. A
//! derivation that takes more than a second says so, as a warning.
//!
//! After that a small event costs a microsecond or two more on each side;
//! `eventcast/benches/README.md` has figures, and the command that prints them.
//!
//! # Old peers
//!
//! Peers of another make have a cipher of their own: AES-128-CBC with a key and an IV that come
//! from the passphrase by one round of MD5. Events that begin alike look alike, and nothing stops
//! forgery or replay. With the feature `classic` and the option `classic_cipher` a bus speaks it
//! (`sealed::classic_buses`). Nothing on this page holds for such a bus.
