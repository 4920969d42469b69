//! Networks: what a bus needs of one, where multicast does not work, and what to do there.
//!
//! # What a bus sends
//!
//! | datagrams | from | to |
//! | --- | --- | --- |
//! | events, hellos, goodbyes | `unicast_port` of the sender | the group (`multicast_membership`) and `port` |
//! | requests for what is missing, and the answers | `unicast_port` of one bus | address and `unicast_port` of the other |
//!
//! All is UDP. `unicast_port` is a port of its own for each bus: any free one, unless the option
//! gives it. Events go in datagrams of at most 1,472 bytes (1,452 over IPv6), so that each fits
//! into an Ethernet frame, unless `max_payload_size` is raised above that. With the feature `repl`
//! a console listens on TCP, on this machine alone unless `repl_host` says otherwise.
//!
//! # Firewalls
//!
//! Give each bus a fixed `unicast_port`, another one for each bus of a machine, and let through
//! what comes in for both ports. A rule that lets in answers to what the machine itself has sent is
//! not enough: the first request of a peer answers nothing that was sent to its address.
//!
//! ```
//! # fn build() -> eventcast::Result<eventcast::Bus> {
//! let bus = eventcast::Bus::builder().port(9000).unicast_port(9001).build()?;
//! # Ok(bus)
//! # }
//! ```
//!
//! ```sh
//! ufw allow proto udp to 224.0.0.1 port 9000    # the group
//! ufw allow proto udp to any port 9001          # this bus
//! firewall-cmd --add-port=9000-9001/udp         # the same with firewalld
//! ```
//!
//! Where events arrive and those that were lost are never repaired, the second rule is what is
//! missing; the notice [`Lost`](crate::Notice::Lost) says so when nothing unicast has ever come
//! from the peer. For a group other than 224.0.0.1 the switch also needs IGMP, which is an IP
//! protocol of its own (number 2), to pass out and in.
//!
//! # Which interface
//!
//! | `multicast_interface` | what it does |
//! | --- | --- |
//! | `"default"` | the interface to which the system's route for the group leads; where there is no such route, or it leads to a VPN, every interface, with a warning |
//! | `"all"` | the group is joined on every interface that can do multicast, and every event leaves by each; it is delivered once |
//! | `"eth0"`, `"192.168.1.7"` | that one, by name or by address |
//! | `"127.0.0.1"` | nothing leaves the machine |
//!
//! A machine with several networks should name the one that is meant: the default route often leads
//! to the other one. [`InterfaceJoined`](crate::Notice::InterfaceJoined) says what was chosen.
//! Interfaces may go and come back while a bus runs, and their addresses may change.
//!
//! # Which group
//!
//! The default, 224.0.0.1, stands for all hosts of the local network. Every host has joined it
//! already, no router passes it on, and switches carry it to every port whatever they have been set
//! to (RFC 4541, section 2.1.2). Buses of one port meet. For many applications, or much traffic,
//! take groups of your own from 239.192.0.0/14 (RFC 2365, section 6.2): then hosts that have not
//! joined are not disturbed, but switches take part.
//!
//! # Switches: IGMP snooping
//!
//! A switch that snoops on IGMP sends a group only to ports behind which a host has reported that
//! it is a member. It forgets a report after some minutes (260 s by the defaults of RFC 3376), and
//! hosts repeat theirs only when a *querier* asks, which is a router or a switch with that
//! function. Where there is no querier, buses hear each other at first and fall silent after those
//! minutes: each reports that the others have left, and a restart helps for a while. Any of these
//! mends it:
//!
//! - turn on the IGMP querier of one switch or router of the network;
//! - turn off IGMP snooping for that network, if there is little multicast on it;
//! - use the default group, which is not subject to snooping.
//!
//! The same holds for IPv6 with MLD in place of IGMP.
//!
//! # Routers
//!
//! `multicast_ttl` is 1: datagrams stay in the local network. To cross routers, these must route
//! multicast (PIM), `multicast_ttl` must count them, and the group must be one that is routed:
//! 224.0.0.0/24 never is. Requests and answers are unicast, and need a way back.
//!
//! # Wi-Fi
//!
//! An access point sends multicast without waiting for acknowledgements, at a low rate, and, where
//! a station saves power, only at certain beacons (RFC 9119, section 3). So on Wi-Fi some of what
//! is sent to a group is always lost, and all of it takes air time and up to some tenths of a
//! second. Repair is unicast, which Wi-Fi itself acknowledges and repeats, so events arrive; large
//! ones take long. Where more than one datagram in twenty is lost, raise
//! `message_retransmit_attempts`. Guest networks mostly keep stations apart ("client isolation"):
//! there nothing arrives.
//!
//! # VPNs
//!
//! Most carry no multicast: their interfaces lack the flag `MULTICAST`. `"default"` avoids them. An
//! interface that is named is used all the same, with a warning, for those that can.
//!
//! # Docker
//!
//! | where the buses are | what to do |
//! | --- | --- |
//! | all in one container | nothing; 127.0.0.1 works with `--network none`, too |
//! | in containers of one bridge network of one Linux machine | nothing: a Linux bridge carries multicast. Its IGMP snooping counts, as above, for groups other than the default |
//! | in a container and on the machine, or on other machines | `--network host`, or a network of the driver `macvlan`. A bridge network is behind address translation, which passes no multicast, and publishing a port (`-p`) is for unicast alone |
//! | in a Swarm's overlay network | it carries no multicast |
//! | under Docker Desktop on macOS or Windows | containers are in a virtual machine, and `--network host` means that machine's network: they hear each other, and the LAN does not hear them |
//!
//! # Kubernetes
//!
//! Most network plugins carry no multicast from one node to another, and some none at all. Three
//! ways out:
//!
//! - `hostNetwork: true` puts a pod into its node's network. Give each bus of a node its own
//!   `unicast_port`. It helps where the network of the nodes carries multicast, which is so on
//!   machines of your own and not in most clouds.
//! - A second interface for the pod (Multus with macvlan), named in `multicast_interface`.
//! - A plugin that supports multicast and has it turned on; OVN-Kubernetes and Cilium can.
//!
//! A service called `eventcast` makes Kubernetes set `EVENTCAST_PORT` to something like
//! `tcp://10.0.0.1:80` in every pod. A bus whose builder gives the port passes over it with a
//! warning; any other does not start, and says why. Set `enableServiceLinks: false` in the pod's
//! spec, or give the service another name.
//!
//! # Clouds
//!
//! The virtual networks of Google Cloud and Azure carry no multicast; that of AWS does only through
//! a transit gateway with a multicast domain. Buses on one machine meet there as anywhere.
//!
//! # Finding out what is wrong
//!
//! 1. Both buses on one machine with `multicast_interface` 127.0.0.1: group, port and passphrase
//!    agree if they meet.
//! 2. [`Bus::on_notice`](crate::Bus::on_notice), or `eventcast::log`: a wrong passphrase, another
//!    version, an interface without multicast and lost events are each reported with what to do.
//! 3. `tcpdump -ni eth0 udp port 9000` on both machines: what leaves one must arrive at the other;
//!    from that it is seen whether the network or a firewall keeps it.
//! 4. `ip maddr show dev eth0`: whether the group is joined where it should be.
//! 5. [`Bus::stats`](crate::Bus::stats): `kernel_drops` above 0 means that the receiving buffer was
//!    full. Raise `receive_buffer`, and on Linux the limit for it: `sysctl
//!    net.core.rmem_max=8388608`.
