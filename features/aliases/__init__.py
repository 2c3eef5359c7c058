"""Aliases: events told in the vocabularies of Segment, Google Retail, Snowplow and AWS Personalize, in our names."""
