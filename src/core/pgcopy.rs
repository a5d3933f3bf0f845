//! pgcopy
