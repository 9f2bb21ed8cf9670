"""Tables of the paper with the reproduced rows below the published ones, by table number."""
