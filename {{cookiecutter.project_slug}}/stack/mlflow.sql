-- The image of PostgreSQL makes one database itself, and runs this once, when its volume is empty.
create database mlflow;
