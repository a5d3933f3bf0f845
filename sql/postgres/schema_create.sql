create schema if not exists "lastword"
