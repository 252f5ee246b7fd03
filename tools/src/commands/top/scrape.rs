//! Getting a page over HTTP: one request, one answer, no more of the protocol than that takes.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long to wait for a connection, and for more of an answer. The endpoint itself waits 2 s for a silent shard.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Bytes of it that are read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// What every answer begins with.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The admin endpoint of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    authority: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Endpoint {
    /// Reads `http://HOST:PORT`, with or without the scheme and a path, which is left out.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((other, _)) => return Err(format!("the endpoint speaks http, not {other}")),
            None => text,
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let port = authority.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
        match port.map(str::parse::<u16>) {
            Some(Ok(port)) if port > 0 => Ok(Self { authority: authority.to_owned() }),
            _ => Err("expected HOST:PORT or http://HOST:PORT".to_owned()),
        }
    }

    /// The body at a path.
    pub(super) fn get(&self, path: &str) -> Result<String, String> {
        let mut stream = self.connect()?;
        let said = |error: std::io::Error| error.to_string();
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(said)?;
        // An answer to HTTP/1.0 is not chunked.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: text/plain\r\n\r\n", self.authority);
        stream.write_all(request.as_bytes()).map_err(said)?;
        let mut answer = Vec::new();
        let mut piece = vec![0; PIECE_BYTES];
        while !is_whole(&answer)? {
            match stream.read(&mut piece).map_err(said)? {
                0 => break,
                _ if answer.len() > ANSWER_BYTES_MAX => return Err("the answer has no end".to_owned()),
                length => answer.extend_from_slice(&piece[..length]),
            }
        }
        body(&String::from_utf8_lossy(&answer))
    }

    fn connect(&self) -> Result<TcpStream, String> {
        let addresses = self.authority.to_socket_addrs().map_err(|error| error.to_string())?;
        let mut failure = "the name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error.to_string(),
            }
        }
        Err(failure)
    }
}

/// Whether nothing more has to be read, as far as the answer says how long it is. Who does not speak HTTP is found out by
/// the first bytes.
fn is_whole(answer: &[u8]) -> Result<bool, String> {
    if !answer.iter().zip(PROTOCOL).all(|(found, wanted)| found == wanted) {
        return Err("the answer is not HTTP".to_owned());
    }
    let Some(head_end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..head_end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Ok(length.is_some_and(|length| answer.len() >= head_end + 4 + length))
}

/// The body of an answer, if its status is 200.
fn body(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    let mut words = status.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => Ok(body.to_owned()),
        (Some(version), Some(_)) if version.starts_with("HTTP/1.") => Err(format!("the answer is {status:?}")),
        _ => Err("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_with_and_without_a_scheme() {
        for text in ["http://localhost:9644", "localhost:9644", "http://localhost:9644/metrics"] {
            assert_eq!(Endpoint::parse(text).expect("an endpoint").to_string(), "http://localhost:9644", "{text}");
        }
        assert_eq!(Endpoint::parse("[::1]:9644").expect("an endpoint").to_string(), "http://[::1]:9644");
        for wrong in ["", "localhost", ":9644", "localhost:0", "localhost:x", "https://localhost:9644"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_whole_when_it_has_its_length() {
        assert_eq!(is_whole(b""), Ok(false));
        assert_eq!(is_whole(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nab"), Ok(false));
        assert_eq!(is_whole(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Ok(true));
        assert_eq!(is_whole(b"HTTP/1.0 200 OK\r\n\r\nabc"), Ok(false), "it ends with the connection");
        assert!(is_whole(b"\0\0").is_err());
    }

    #[test]
    fn only_a_good_answer_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\na: b\r\n\r\nx 1\n"), Ok("x 1\n".to_owned()));
        assert!(body("HTTP/1.1 404 Not Found\r\n\r\n").is_err_and(|why| why.contains("404")));
        assert!(body("\0\0\0\x04what").is_err());
    }
}
