//! What the name of a host says.

use url::Host;

/// Whether the host of a URI is this machine: `localhost`, 127.0.0.0/8 or ::1.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    Host::parse(host).is_ok_and(|host| match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LOCALHOST", "localhost."] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in ["example.com", "10.0.0.1", "[::2]", "localhost.example.com"] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
