//! What a node says of itself on its admin endpoint.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Error;

/// How long the endpoint may take.
const WAIT: Duration = Duration::from_secs(10);

/// Bytes of a page at most.
const PAGE_BYTES_MAX: u64 = 64 << 20;

/// One reading of all metrics, in Prometheus' text format.
#[derive(Debug, Clone)]
pub struct Page {
    text: String,
}

impl Page {
    /// Reads the page.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub fn read(address: SocketAddr) -> Result<Self, Error> {
        let read = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(WAIT))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.take(PAGE_BYTES_MAX).read_to_string(&mut text)?;
            match text.starts_with("HTTP/1.1 200") {
                true => Ok(text),
                false => Err(io::Error::other(text.lines().next().unwrap_or("no answer").to_owned())),
            }
        };
        let text = read().map_err(|cause| Error::Connection { address, cause })?;
        Ok(Self { text })
    }

    /// The sum of all samples of a metric whose labels contain this text.
    #[must_use]
    pub fn sum(&self, metric: &str, label: &str) -> f64 {
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            if name == metric && labels.contains(label) { value.parse::<f64>().ok() } else { None }
        };
        self.text.lines().filter_map(value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_their_labels() {
        let text = "# HELP a b\na{shard=\"0\",x=\"y\"} 3\na{shard=\"1\",x=\"z\"} 4\nab 9\nc 1.5\n".to_owned();
        let page = Page { text };
        assert_eq!((page.sum("a", ""), page.sum("a", "x=\"z\""), page.sum("c", "")), (7.0, 4.0, 1.5));
        assert_eq!(page.sum("d", ""), 0.0);
    }
}
