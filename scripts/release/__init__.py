"""What a release is made of and checked by: images, SBOMs, licenses, known vulnerabilities, signatures."""
