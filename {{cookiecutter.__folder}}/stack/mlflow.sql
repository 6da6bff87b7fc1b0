-- PostgreSQL's image creates one database by itself, and runs this file once, on an empty volume.
create database mlflow;
