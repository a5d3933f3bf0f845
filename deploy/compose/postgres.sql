ALTER ROLE lastword PASSWORD 'example';
