-- One round changes a few keys in each way that a key can change; psql repeats it until it is stopped.
WITH picked AS (SELECT id FROM customers ORDER BY random() LIMIT 20)
UPDATE customers SET limit_amount = round((random() * 1000)::numeric, 2), modified_at = now() WHERE id IN (SELECT id FROM picked)\;
INSERT INTO customers (name, email) SELECT 'new ' || n, NULL FROM generate_series(1, 3) AS n\;
DELETE FROM customers WHERE id IN (SELECT id FROM customers WHERE id > 1000 ORDER BY random() LIMIT 2)\;
UPDATE orders SET number = number + 100 WHERE (customer_id, number) IN
    (SELECT customer_id, number FROM orders WHERE number < 100 ORDER BY random() LIMIT 1)\;
WITH moved AS (DELETE FROM orders WHERE (customer_id, number) IN
    (SELECT customer_id, number FROM orders ORDER BY random() LIMIT 1) RETURNING *)
INSERT INTO orders SELECT customer_id, number + 1000, 'again', total FROM moved
ON CONFLICT DO NOTHING
\watch 0.5
