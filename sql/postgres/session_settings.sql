-- jit: short statements, planned every time. plan_cache_mode: a plan made for an empty table would be kept when the table
-- has grown. random_page_cost: the statements look up a batch's keys; the default makes the planner read whole tables.
set jit = off;
set plan_cache_mode = force_custom_plan;
set random_page_cost = 1.1;
set timezone = 'UTC';
set client_min_messages = warning;
set idle_in_transaction_session_timeout = '60s'
