//! `[registry]`

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::checked::{IdBytes, RegistryAuth, RegistryConfig};
use crate::config::problem::Origin;
use crate::config::raw::{Property, RawRegistry};
use crate::config::read::Field;
use crate::config::secret::Secret;

use super::Checker;

/// An answer: long beside what a registry takes, short beside the patience of whoever waits for rows.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Checker<'_> {
    /// Judges `[registry]`; `None` where it is not written.
    pub(super) fn registry(&mut self, raw: &RawRegistry) -> Option<RegistryConfig> {
        raw.origin.as_ref()?;
        let url = self.required(&raw.url, "registry.url", "url = \"http://registry:8081\"");
        let urls = url.map(|given| self.registry_urls(&given.value, &given.origin)).unwrap_or_default();
        let id_bytes = match raw.id_bytes.given() {
            None => IdBytes::Either,
            Some(given) => match given.value {
                4 => IdBytes::Four,
                8 => IdBytes::Eight,
                other => {
                    let message = format!("expected 4 (Confluent) or 8 (Apicurio's older default), found {other}");
                    self.report.add(&given.origin, "registry.id_bytes", message);
                    IdBytes::Either
                }
            },
        };
        let timeouts = Duration::from_millis(100)..=Duration::from_secs(120);
        Some(RegistryConfig {
            urls,
            ids: raw.ids.value().copied(),
            id_bytes,
            auth: self.registry_auth(raw),
            ca_file: raw.ca_file.value().map(PathBuf::from),
            certificate: self.certificate(raw),
            timeout: self.duration(&raw.timeout, "registry.timeout", TIMEOUT, timeouts),
        })
    }

    /// Errors never show a URL: it may hold a password that does not belong there.
    fn registry_urls(&mut self, written: &str, origin: &Origin) -> Vec<Url> {
        let mut urls = Vec::new();
        for text in written.split(',').map(str::trim) {
            let message = match Url::parse(text) {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    "holds an @; users and passwords are written as registry.user and registry.password".to_owned()
                }
                Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() => {
                    "expected http://host:port or https://host:port, with commas between several".to_owned()
                }
                Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                    "has a part behind ? or #, which a registry's base URL does not have".to_owned()
                }
                Ok(url) => {
                    urls.push(url);
                    continue;
                }
                Err(error) => {
                    format!("is not a URL ({error}); expected http://host:port, with commas between several")
                }
            };
            self.report.add(origin, "registry.url", message);
        }
        urls
    }

    fn registry_auth(&mut self, raw: &RawRegistry) -> RegistryAuth {
        let password = self.secret(&raw.password, "registry.password");
        let token = self.secret(&raw.token, "registry.token");
        if let Some(given) = raw.token.given() {
            if raw.user.is_written() || raw.password.is_written() {
                self.report.add(&given.origin, "registry.token", "expected a token, or user and password, found both");
            }
            return token.map_or(RegistryAuth::None, RegistryAuth::Bearer);
        }
        match (raw.user.given(), raw.password.given()) {
            (None, None) => RegistryAuth::None,
            (Some(given), None) => {
                self.report.add(&given.origin, "registry.user", "has no registry.password beside it");
                RegistryAuth::None
            }
            (None, Some(given)) => {
                self.report.add(&given.origin, "registry.password", "has no registry.user beside it");
                RegistryAuth::None
            }
            (Some(user), Some(_)) => match password {
                Some(password) => RegistryAuth::Basic { user: user.value.clone(), password },
                None => RegistryAuth::None,
            },
        }
    }

    fn secret(&mut self, field: &Field<Property>, key: &str) -> Option<Secret> {
        let given = field.given()?;
        match self.property(given) {
            Ok(value) => Some(Secret::new(value)),
            Err(message) => {
                self.report.add(&given.origin, key, message);
                None
            }
        }
    }

    fn certificate(&mut self, raw: &RawRegistry) -> Option<(PathBuf, PathBuf)> {
        match (raw.cert_file.given(), raw.key_file.given()) {
            (Some(certificate), Some(key)) => Some((certificate.value.clone().into(), key.value.clone().into())),
            (Some(given), None) => {
                self.report.add(&given.origin, "registry.cert_file", "has no registry.key_file beside it");
                None
            }
            (None, Some(given)) => {
                self.report.add(&given.origin, "registry.key_file", "has no registry.cert_file beside it");
                None
            }
            (None, None) => None,
        }
    }
}
