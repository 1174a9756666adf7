"""NBB CBSO: the annual accounts of the National Bank of Belgium, as five web-service products.

rules       what the operator configured, as one value
routes      products, paths and media types, as data
timeline    days, ages, windows, order of work
requests    how to ask for an item now
answers     what a response means
payloads    what is inside the zips
sealing     when a day is complete
registry    the functions above, as one `ports.Registry`
"""
