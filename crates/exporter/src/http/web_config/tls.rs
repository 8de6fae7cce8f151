//! What rustls makes of `tls_server_config`. What exporter-toolkit accepts and rustls does not have is refused: TLS
//! below 1.2, CBC ciphers, P-521.

use std::sync::Arc;

use document::{DocumentError, Node, nearest};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::file::{Files, Section};

const KEYS: [&str; 13] = [
    "cert",
    "cert_file",
    "cipher_suites",
    "client_allowed_sans",
    "client_auth_type",
    "client_ca",
    "client_ca_file",
    "curve_preferences",
    "key",
    "key_file",
    "max_version",
    "min_version",
    "prefer_server_cipher_suites",
];

/// Versions by exporter-toolkit's names, the oldest first.
const VERSIONS: [(&str, Option<&SupportedProtocolVersion>); 4] =
    [("TLS10", None), ("TLS11", None), ("TLS12", Some(&TLS12)), ("TLS13", Some(&TLS13))];

/// Curves by exporter-toolkit's names.
const CURVES: [(&str, Option<&dyn rustls::crypto::SupportedKxGroup>); 4] = [
    ("CurveP256", Some(ring::kx_group::SECP256R1)),
    ("CurveP384", Some(ring::kx_group::SECP384R1)),
    ("CurveP521", None),
    ("X25519", Some(ring::kx_group::X25519)),
];

/// Suites that exporter-toolkit knows and rustls leaves out because of their mode.
const CBC_SUITES: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// What is asked of clients, by the names of exporter-toolkit, which are Go's.
const CLIENT_AUTH: [(&str, Asked); 6] = [
    ("NoClientCert", Asked { certificate: false, required: false, verified: false }),
    ("RequestClientCert", Asked { certificate: true, required: false, verified: false }),
    ("RequireAnyClientCert", Asked { certificate: true, required: true, verified: false }),
    ("RequireClientCert", Asked { certificate: true, required: true, verified: false }),
    ("VerifyClientCertIfGiven", Asked { certificate: true, required: false, verified: true }),
    ("RequireAndVerifyClientCert", Asked { certificate: true, required: true, verified: true }),
];

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Clients are asked for a certificate.
    certificate: bool,
    /// A client must have one.
    required: bool,
    /// It must lead to one of our authorities.
    verified: bool,
}

/// TLS on every listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What a handshake is done with.
    pub server: Arc<ServerConfig>,
    /// Only clients with a certificate may read what is not open to all.
    pub certificate_required: bool,
    /// A client that has a certificate has one that was verified.
    pub certificate_verified: bool,
}

/// The settings of a section; nothing where it is empty.
pub(super) fn read(
    node: &Node,
    http2: bool,
    protects_health: bool,
    files: &mut Files<'_>,
) -> Result<Option<Tls>, DocumentError> {
    let section = Section::read(node, "tls_server_config", &KEYS)?;
    if section.is_empty() {
        return Ok(None);
    }
    let missing = |key| format!("tls_server_config needs {key} or {key}_file");
    let Some((cert_place, cert)) = section.pem("cert", files)? else { return node.error(missing("cert")) };
    let Some((key_place, key)) = section.pem("key", files)? else { return node.error(missing("key")) };
    let chain = certificates(cert_place, &cert)?;
    let key = PrivateKeyDer::from_pem_slice(&key).or_else(|_| {
        key_place
            .error("no private key in PEM (PKCS #8, PKCS #1 or SEC 1); one with a password cannot be read")
    })?;

    let provider = Arc::new(provider(&section)?);
    let (asked, verifier) = clients(&section, node, &provider, protects_health, files)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(&section)?)
        .or_else(|error| node.error(format!("tls_server_config: {error}")))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).or_else(|error| match error {
        Error::InconsistentKeys(_) => key_place.error("the private key does not belong to the certificate"),
        error => cert_place.error(format!("the certificate and its key cannot be used: {error}")),
    })?;
    server.ignore_client_order = section.flag("prefer_server_cipher_suites", true)?;
    server.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
    server.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Some(Tls {
        server: Arc::new(server),
        certificate_required: asked.required,
        certificate_verified: asked.verified,
    }))
}

fn certificates(place: &Node, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, DocumentError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => place.error("no certificate in PEM; it begins with -----BEGIN CERTIFICATE-----"),
    }
}

/// The entry of a table by its name, or the error that it is unknown or that rustls does not have it.
fn known<T: Copy>(
    place: &Node,
    key: &str,
    name: &str,
    table: &[(&str, Option<T>)],
) -> Result<T, DocumentError> {
    let has: Vec<_> = table.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
    match table.iter().find(|(known, _)| *known == name) {
        Some((_, Some(value))) => Ok(*value),
        Some(_) => place.error(format!("{key}: {name} is not supported here; write {}", has.join(" or "))),
        None => place.error(format!("{key}: `{name}` is unknown; write {}", has.join(" or "))),
    }
}

fn versions(section: &Section<'_>) -> Result<Vec<&'static SupportedProtocolVersion>, DocumentError> {
    let bound = |key| section.get(key).map(|node| known(node, key, node.text(key)?, &VERSIONS)).transpose();
    let (min, max) = (bound("min_version")?.unwrap_or(&TLS12), bound("max_version")?.unwrap_or(&TLS13));
    let between = |version: &SupportedProtocolVersion| {
        (u16::from(min.version)..=u16::from(max.version)).contains(&u16::from(version.version))
    };
    let versions: Vec<_> = [&TLS13, &TLS12].into_iter().filter(|version| between(version)).collect();
    match section.get("min_version") {
        Some(node) if versions.is_empty() => node.error("min_version is above max_version"),
        _ => Ok(versions),
    }
}

/// The algorithms that the section allows: ciphers of TLS 1.2 in its order, those of TLS 1.3 always.
fn provider(section: &Section<'_>) -> Result<CryptoProvider, DocumentError> {
    let mut provider = ring::default_provider();
    if let Some(wanted) = section.texts("cipher_suites")?.filter(|wanted| !wanted.is_empty()) {
        let suites = wanted.into_iter().map(|(node, name)| suite(node, name, &provider.cipher_suites));
        let suites = suites.collect::<Result<Vec<_>, _>>()?;
        let of_tls13 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
        let of_tls12 = suites.iter().filter(|suite| suite.tls13().is_none());
        provider.cipher_suites = of_tls13.chain(of_tls12).copied().collect();
    }
    if let Some(wanted) = section.texts("curve_preferences")?.filter(|wanted| !wanted.is_empty()) {
        let curves = wanted.into_iter().map(|(node, name)| known(node, "curve_preferences", name, &CURVES));
        provider.kx_groups = curves.collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

/// A suite by its registered name, which is also Go's.
fn suite(
    node: &Node,
    name: &str,
    known: &[SupportedCipherSuite],
) -> Result<SupportedCipherSuite, DocumentError> {
    let registered =
        |suite: &SupportedCipherSuite| suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_");
    if let Some(suite) = known.iter().find(|suite| registered(suite) == name) {
        return Ok(*suite);
    }
    let names: Vec<_> = known.iter().map(registered).collect();
    let nearest = nearest(name, names.iter().map(String::as_str), 3).join(", ");
    if CBC_SUITES.contains(&name) {
        return node.error(format!("cipher_suites: {name} is not supported here (CBC); write {nearest}"));
    }
    node.error(format!("cipher_suites: `{name}` is unknown; nearest: {nearest}"))
}

/// What is asked of clients, and how their certificates are checked.
fn clients(
    section: &Section<'_>,
    node: &Node,
    provider: &Arc<CryptoProvider>,
    protects_health: bool,
    files: &mut Files<'_>,
) -> Result<(Asked, Option<Clients>), DocumentError> {
    let (_, nobody) = CLIENT_AUTH[0];
    let asked = match section.get("client_auth_type") {
        None => nobody,
        Some(node) => {
            let name = node.text("client_auth_type")?;
            let found = CLIENT_AUTH.iter().find(|(known, _)| *known == name);
            let names: Vec<_> = CLIENT_AUTH.iter().map(|(name, _)| *name).collect();
            let unknown =
                || format!("client_auth_type: `{name}` is unknown; it is one of {}", names.join(", "));
            found.map_or_else(|| node.error(unknown()), |(_, asked)| Ok(*asked))?
        }
    };
    let authorities = section.pem("client_ca", files)?;
    let sans = section.texts("client_allowed_sans")?;
    let allowed = sans.map(|sans| sans.into_iter().map(|(_, san)| san.to_owned()).collect::<Vec<_>>());
    if !asked.certificate {
        const HOW: &str = "write client_auth_type: RequireAndVerifyClientCert";
        return match (authorities, section.get("client_allowed_sans")) {
            (Some((place, _)), _) => place.error(format!("client_ca without client_auth_type; {HOW}")),
            (None, Some(place)) => {
                place.error(format!("client_allowed_sans without client_auth_type; {HOW}"))
            }
            (None, None) => Ok((nobody, None)),
        };
    }
    let authorities = match (asked.verified, authorities) {
        (false, _) => Authorities::NotAsked,
        (true, None) if !asked.required => Authorities::Nobody,
        (true, None) => {
            let place = section.get("client_auth_type").unwrap_or(node);
            return place.error("client_auth_type verifies clients; it needs client_ca_file");
        }
        (true, Some((place, pem))) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(place, &pem)? {
                roots.add(root).or_else(|error| place.error(format!("client_ca: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            Authorities::Ours(verifier.build().or_else(|error| place.error(format!("client_ca: {error}")))?)
        }
    };
    let algorithms = provider.signature_verification_algorithms;
    Ok((
        asked,
        Some(Clients { mandatory: asked.required && protects_health, authorities, allowed, algorithms }),
    ))
}

/// Whom the certificates of clients must lead to.
#[derive(Debug)]
enum Authorities {
    /// That is not looked at.
    NotAsked,
    /// There are none: a client may have no certificate, and none that it has is valid.
    Nobody,
    /// These.
    Ours(Arc<dyn ClientCertVerifier>),
}

/// Checks the certificates of clients.
#[derive(Debug)]
struct Clients {
    /// A handshake without a certificate fails. Otherwise the paths decide that are asked for.
    mandatory: bool,
    authorities: Authorities,
    /// Alternative names of which a certificate must have one.
    allowed: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.authorities {
            Authorities::Ours(authorities) => authorities.root_hint_subjects(),
            Authorities::NotAsked | Authorities::Nobody => &[],
        }
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.authorities {
            Authorities::NotAsked => {}
            Authorities::Nobody => return Err(CertificateError::UnknownIssuer.into()),
            Authorities::Ours(authorities) => {
                authorities.verify_client_cert(certificate, intermediates, now)?;
            }
        }
        let has = |allowed: &[String]| {
            alternative_names(certificate)
                .is_some_and(|names| names.iter().any(|name| allowed.contains(name)))
        };
        if self.allowed.as_deref().is_none_or(has) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The alternative names of a certificate that exporter-toolkit compares: DNS, e-mail, IP, URI.
fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    let certificate = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let (_, SubjectAltName(names)) = certificate.tbs_certificate().get_extension().ok()??;
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let four = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    };
    Some(names.iter().filter_map(text).collect())
}
